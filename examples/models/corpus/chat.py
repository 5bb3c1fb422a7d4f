"""Chats: a user asks, the assistant answers; all it knows stands in the tables of this folder."""

import random
from typing import List, Tuple

from . import knowledge, machines, world
from .plots import tell_story
from .teller import Teller, capitalise, with_article

Turn = Tuple[str, str]  # (role, text)

HIDING = (
    "the red box",
    "the drawer",
    "the basket",
    "the cupboard",
    "the blue bag",
    "the tool box",
    "the jar",
    "the old chest",
)

SYSTEM = (
    "You are a helpful assistant in a workshop.",
    "You are a friendly assistant. Keep your answers short.",
    "You are a robot who likes to help and to tell stories.",
)
GREETINGS = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi!", "Hi! What would you like to know?"),
    ("Good morning!", "Good morning! I hope you slept well."),
    ("Good evening!", "Good evening! Shall I tell you a story?"),
    ("How are you?", "I am fine, thank you. I am always ready to help."),
    (
        "Who are you?",
        (
            "I am a tiny language model. I know a little about tools, sensors, robots and animals,"
            " and I can tell short stories."
        ),
    ),
    ("What is your name?", "My name is Tiny Workshop. I am a very small language model."),
    (
        "What can you do?",
        "I can tell short stories, explain tools and sensors, and answer simple questions.",
    ),
    ("Are you a human?", "No, I am a small language model that runs on a small device."),
    (
        "Are you always right?",
        "No. I am very small, and I make mistakes. Please check what matters.",
    ),
    ("How big are you?", "I am very small. I have about five million parameters."),
    ("Thank you!", "You are welcome!"),
    ("Goodbye!", "Goodbye! Come back soon."),
    ("Thanks, that helped.", "I am glad that I could help."),
    ("Can you drive a car?", "No, I can only read and write words."),
    (
        "Do you know everything?",
        "No, I know only a few things, and I learned them from little texts.",
    ),
)


def story_request(rng: random.Random) -> List[Turn]:
    t = tell_story(rng)
    chosen = rng.sample(t.topics, 2 if len(t.topics) > 1 and rng.random() < 0.4 else 1)
    topic = " and ".join(with_article(x) if " named " in x else x for x in chosen)
    ask = rng.choice(
        (
            "Tell me a story about {}.",
            "Please tell me a story about {}.",
            "Write a short story about {}.",
            "Can you tell me a story about {}?",
            "I would like to hear a story about {}.",
        )
    )
    turns = [("user", ask.format(topic)), ("assistant", t.text())]
    # Questions about the story need the whole story in view; they teach to look back.
    for question, answer in rng.sample(t.facts, rng.choice((0, 1, 1, 2))):
        turns += [("user", question), ("assistant", answer)]
    return turns


def plain_request(rng: random.Random) -> List[Turn]:
    ask = rng.choice(
        (
            "Tell me a story.",
            "Please tell me a story.",
            "I want to hear a story.",
            "Can you tell me a story?",
            "Tell me a short story about a robot.",
            "Do you know a story?",
        )
    )
    t = tell_story(rng)
    return [("user", ask), ("assistant", t.text())]


def definition(rng: random.Random) -> List[Turn]:
    name, what, more = rng.choice(knowledge.THINGS)
    some = with_article(name)
    ask = rng.choice(
        (
            "What is {}?",
            "Can you explain what {} is?",
            "Please tell me what {} is.",
            "I do not know what {} is.",
            "Explain: what is {}?",
        )
    )
    return [("user", ask.format(some)), ("assistant", capitalise(f"{some} is {what}. {more}"))]


def which_thing(rng: random.Random) -> List[Turn]:
    name, what, more = rng.choice(knowledge.THINGS)
    ask = rng.choice(
        (
            "What do we call {}?",
            "What is the name for {}?",
            "I am looking for {}. What is it called?",
        )
    )
    return [
        ("user", ask.format(what)),
        ("assistant", capitalise(f"that is {with_article(name)}. {more}")),
    ]


def why(rng: random.Random) -> List[Turn]:
    question, answer = rng.choice(knowledge.WHY)
    return [("user", question), ("assistant", answer)]


def trouble(rng: random.Random) -> List[Turn]:
    m = rng.choice(machines.MACHINES)
    table = rng.choice(m.kinds)
    fault = rng.choice(machines.FAULTS[table])
    if rng.random() < 0.5:
        ask = rng.choice(
            (
                f"My {m.name} does not work. I opened it, and {fault.clue}. What should I do?",
                f"I looked into my {m.name}: {fault.clue}. What is wrong?",
            )
        )
        return [
            ("user", ask),
            ("assistant", f"It seems to be {fault.cause}. {capitalise(fault.advice)}."),
        ]
    other = rng.choice([f for f in machines.FAULTS[table] if f is not fault])
    ask = rng.choice(
        (
            f"My {m.name} does not work. What should I do?",
            f"How can I repair a {m.name}?",
            f"Something is wrong with my {m.name}. Can you help me?",
        )
    )
    return [
        ("user", ask),
        (
            "assistant",
            (
                f"Unplug it first and look inside. It may be {fault.cause}: {fault.advice}. "
                f"It may also be {other.cause}: {other.advice}."
            ),
        ),
    ]


def reading(rng: random.Random) -> List[Turn]:
    s = rng.choice(machines.SENSORS)
    case = rng.choice(("low", "high", "normal"))
    value = rng.randint(*getattr(s, case))
    ask = rng.choice(
        (
            f"The {s.name} shows {value} {s.unit}. Is that good?",
            f"My {s.name} says {value} {s.unit}. What does that mean?",
            f"Is {value} {s.unit} normal for the {s.name}?",
        )
    )
    if case == "normal":
        answer = rng.choice(
            (
                f"Yes, {value} {s.unit} is normal.",
                f"{value} {s.unit} is a good number. You do not have to do anything.",
            )
        )
    else:
        reason = s.low_reason if case == "low" else s.high_reason
        answer = f"{value} {s.unit} is too {case}. Look around first. Perhaps {reason}."
    return [("user", ask), ("assistant", answer)]


def sums(rng: random.Random) -> List[Turn]:
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    name = rng.choice(world.GIRLS + world.BOYS)
    item = rng.choice(("screws", "nails", "apples", "marbles", "shells", "bolts", "pears", "coins"))
    kind = rng.randrange(4)
    if kind == 0:
        return [
            ("user", rng.choice((f"What is {a} plus {b}?", f"How much is {a} plus {b}?"))),
            ("assistant", f"{a} plus {b} is {a + b}."),
        ]
    if kind == 1:
        return [
            (
                "user",
                rng.choice((f"What is {a + b} minus {b}?", f"How much is {a + b} minus {b}?")),
            ),
            ("assistant", f"{a + b} minus {b} is {a}."),
        ]
    if kind == 2:
        return [
            (
                "user",
                f"{name} has {a} {item} and finds {b} more. How many {item} does {name} have now?",
            ),
            ("assistant", f"{a} and {b} make {a + b}. {name} has {a + b} {item} now."),
        ]
    left = str(a) if a != 1 else "only 1"
    return [
        ("user", f"{name} has {a + b} {item} and gives away {b}. How many {item} are left?"),
        (
            "assistant",
            (
                f"{a + b} less {b} is {a}. {capitalise(left)} of the {item}"
                f" {'are' if a != 1 else 'is'} left."
            ),
        ),
    ]


def opposite(rng: random.Random) -> List[Turn]:
    a, b = rng.choice(knowledge.OPPOSITES)
    if a != "heavy" and b != "light" and rng.random() < 0.5 and a != "light":
        a, b = b, a
    return [
        ("user", rng.choice((f"What is the opposite of {a}?", f"Tell me the opposite of {a}."))),
        ("assistant", f"The opposite of {a} is {b}."),
    ]


def listing(rng: random.Random) -> List[Turn]:
    group, members = rng.choice(knowledge.GROUPS)
    count = rng.randint(2, 4)
    chosen = rng.sample(members, count)
    ask = rng.choice(
        (
            f"Name {knowledge.NUMBER_WORDS[count]} {group}.",
            f"Can you name {knowledge.NUMBER_WORDS[count]} {group}?",
        )
    )
    return [
        ("user", ask),
        ("assistant", capitalise(", ".join(chosen[:-1]) + " and " + chosen[-1] + ".")),
    ]


def where_is(rng: random.Random) -> List[Turn]:
    """A thing is moved about; the answer is the last place, or who holds it."""
    t = Teller(rng)
    a, b = t.child(), t.child()
    thing = rng.choice(world.SMALL_THINGS)
    places = rng.sample(HIDING, 3)
    lines = [f"{a} put the {thing} into {places[0]}."]
    answer = f"The {thing} is in {places[0]}. {a} put it there."
    if rng.random() < 0.5:
        other = rng.choice([x for x in world.SMALL_THINGS if x != thing])
        lines.append(f"{b} put the {other} into {places[1]}.")
    if rng.random() < 0.7:
        lines.append(f"Then {b} took the {thing} and put it into {places[2]}.")
        answer = f"The {thing} is in {places[2]}. {b} put it there."
        if rng.random() < 0.3:
            lines.append(f"Later {a} took the {thing} and kept it.")
            answer = f"{a} has the {thing}."
    return [("user", " ".join(lines) + f" Where is the {thing} now?"), ("assistant", answer)]


def greeting(rng: random.Random) -> List[Turn]:
    question, answer = rng.choice(GREETINGS)
    return [("user", question), ("assistant", answer)]


SHORT = (
    definition,
    definition,
    definition,
    which_thing,
    why,
    why,
    trouble,
    trouble,
    reading,
    sums,
    sums,
    opposite,
    listing,
    where_is,
    where_is,
    greeting,
)


def chat(rng: random.Random) -> List[Turn]:
    """A whole chat: a story with questions, or one to four short exchanges."""
    turns: List[Turn] = []
    if rng.random() < 0.3:
        turns.append(("system", rng.choice(SYSTEM)))
    kind = rng.random()
    if kind < 0.35:
        return turns + story_request(rng)
    if kind < 0.42:
        return turns + plain_request(rng)
    for _ in range(rng.choice((1, 1, 2, 3, 4, 6))):
        turns += rng.choice(SHORT)(rng)
    return turns
