"""Plots in the dark: storms, strange noises, messages of light.

Each function takes a Teller, lets something happen in its world, and leaves a finished story
there, with topics (what one could have asked a story about) and facts (what one can ask after it).
"""

from .teller import Teller, with_article


def power_cut(t: Teller) -> None:
    """A storm takes the light away; a robot shares its energy."""
    a, b = t.robot(), t.child()
    p, q = t.places[:2]
    t.cast(a=a, b=b, p=p, q=q, look=a.look, spot=t.pick(q.spots), percent=t.rng.randint(30, 90))
    t.topics += ["a storm", "a dark night", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.tell(
        "One evening a storm came over {p}.",
        "One night the wind howled and the rain beat on the roof.",
        "There was thunder all around.",
    )
    t.start(p, a, b)
    t.tell(
        "Suddenly all the lights went out.",
        "With a loud crack everything went dark.",
        "Then the power was gone.",
    )
    t.quote(b, "I cannot see anything!", "I am afraid of the dark.", "{a}, where are you?")
    t.tell(
        "{a} switched on its small front lamp.",
        "A soft light began to shine. It was {a}.",
        "{a} came close and made a little light.",
    )
    t.quote(
        a,
        "I am here. My battery has {percent} percent.",
        "Do not be afraid. The dark is the same room without light.",
        "Stay with me. I can see in the dark.",
    )
    t.paragraph()
    reason, tool, fix = t.pick(
        (
            (
                "the main fuse had blown",
                "the new fuse",
                "pulled out the old fuse and put in {tool}",
            ),
            (
                "a branch had pulled the cable loose",
                "the rubber gloves",
                "put on {tool} and plugged the cable in again",
            ),
            (
                "the main switch had jumped down",
                "the small step",
                "stood on {tool} and pushed the switch up",
            ),
        )
    )
    t.cast(tool=tool, reason=reason)
    t.tell(
        "Together they followed the cable and found the reason: {reason}.",
        "They went to look, step by step. {reason}.",
    )
    t.tell("{tool} lay {q.at}, {spot}.", "{b} remembered that {tool} lay {q.at}, {spot}.")
    t.go(q, a, b)
    t.tell("{a} gave light while {b} took {tool}.", "{b} searched in {a}'s light and found {tool}.")
    b.holding.append(tool)
    t.tell(
        "Back {p.at}, {a} called an engineer by radio, who told them what to do.",
        "They went back to {p}. {a} checked three times that it was safe.",
    )
    t.tell("Then {b} {fix}.", fix=fix.format(tool=tool))
    t.paragraph()
    t.tell(
        "All the lights came on again.",
        "The lamps blinked once and then they shone.",
        "There was light!",
    )
    t.happy(b)
    t.quote(
        b,
        "I was not so afraid with you beside me.",
        "Thank you for your light, {a}.",
        "Now the storm sounds almost like music.",
    )
    t.tell(
        "{a} was tired, so {b} plugged it in to charge.",
        "{a}'s battery was low now, and {b} brought it to its charger.",
    )
    t.close(b)
    t.fact("Why did the lights go out?", "The lights went out because {reason}.")
    t.fact("Who gave light in the dark?", "{a} gave light in the dark.")
    t.fact("Where did they find {tool}?", "They found {tool} {q.at}.")


def night_noise(t: Teller) -> None:
    """A strange noise at night has a harmless cause."""
    a = t.child()
    b = t.robot() if t.chance(0.5) else t.adult(unlike=a)
    p, q, r = t.places[:3]
    pet = t.animal()
    noise, cause = t.pick(
        (
            ("tap, tap, tap", "a branch was knocking on the window"),
            ("drip, drip, drip", "water was dripping into a bucket"),
            ("squeak, squeak", "an old door was moving in the wind"),
            ("scratch, scratch", f"{with_article(pet.kind)} was looking for food"),
            ("bump, bump", f"{with_article(pet.kind)} was playing with an empty can"),
            ("whoo, whoo", "the wind was blowing over an open bottle"),
            ("tick, tick, tick", "somebody had forgotten an old clock in a box"),
        )
    )
    t.cast(a=a, b=b, p=p, q=q, r=r, noise=noise, cause=cause, spot=t.pick(q.spots))
    t.topics += ["a strange noise", "a dark night", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.tell(
        "One night {a} could not sleep.",
        "It was late, and the moon was high.",
        "In the middle of the night {a} woke up.",
    )
    t.tell("There was a noise: {noise}.", "From somewhere came a strange sound: {noise}.")
    t.tell(
        "{a} pulled the blanket over {a.his} head, but the noise did not stop.",
        "{a.his} heart beat fast.",
        "Was it a ghost?",
    )
    t.quote(b, "What is it, {a}?", "Why are you awake?", "Did you hear that, too?")
    t.quote(
        a,
        "There is something out there. It goes {noise}.",
        "I think that it is a ghost.",
        "I am afraid, but I want to know what it is.",
    )
    t.quote(
        b, "Then let us find out.", "What we know does not frighten us.", "We will go together."
    )
    t.paragraph()
    t.tell(
        "They took a lamp and listened.",
        (
            "{b} carried the lamp, and {a} held on to {b}."
            if b.role == "robot"
            else "{b} carried the lamp, and {a} held {b.his} hand."
        ),
    )
    t.tell(
        "The noise did not come from {r}. There it was silent.",
        "They listened {r.at}, but all was quiet there.",
    )
    t.go(q, a, b)
    t.tell("Here it was louder: {noise}.", '"{x}!" it went.', x=noise.capitalize())
    t.tell(
        "{a} took a deep breath and looked {spot}.",
        "{b} held up the lamp. Slowly {a} looked {spot}.",
    )
    t.tell(
        "And what did they see? {cause}.",
        "There was no ghost at all: {cause}.",
        "Then they both laughed. {cause}!",
    )
    t.paragraph()
    if "looking for food" in cause or "playing" in cause:
        t.tell(
            "They gave the {k} some bread, and it went away quietly.",
            "The {k} looked at them and ran away.",
            k=pet.kind,
        )
    else:
        t.tell(
            "They set it right, and the noise was gone.", "It took only a moment to make it stop."
        )
    t.quote(
        a,
        "I was afraid of so small a thing.",
        "It sounded so much bigger in the dark.",
        "Next time I will look at once.",
    )
    t.tell(
        "Then {a} went back to bed and slept until the morning.", "After that {a} slept soundly."
    )
    t.fact("What noise did {a} hear?", "{a} heard this noise: {noise}.")
    t.fact("What made the noise?", "{cause}.")
    t.fact("Where did the noise come from?", "It came from {q}.")


def message(t: Teller) -> None:
    """Two who are far apart agree on a code of lights, and one day it is needed."""
    a, b = t.pair()
    p, q = t.places[:2]
    trouble, tool = t.pick(
        (
            ("water was running through the roof", "a sheet of tin and a hammer"),
            ("the door was stuck and could not be opened", "an iron bar"),
            ("the stove was out and it was very cold", "dry wood and a blanket"),
            ("the ladder had fallen down", "a rope"),
            ("a heavy shelf had fallen down", "two wide boards"),
        )
    )
    t.cast(a=a, b=b, p=p, q=q, trouble=trouble, tool=tool)
    t.topics += ["a message of light", "a secret code", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.tell(
        "{a} lived near {p}, and {friend} lived near {q}.",
        "{a} worked {p.at}. {a.his} friend {friend} worked {q.at}.",
        friend=str(b) if b.role == "adult" else f"{b}, {with_article(b.kind)},",
    )
    t.start(p, a)
    t.start(q, b)
    t.tell(
        "They could see each other's lamps at night.",
        "It was too far to shout, but a lamp could be seen.",
    )
    t.tell(
        "So they made a code: one flash meant good night, two meant all is well, and three meant"
        " help.",
        "One flash was good night, two flashes were all is well, and three flashes were a call for"
        " help.",
    )
    t.tell(
        "Every evening {a} sent one flash, and {b} sent one flash back.",
        "Every night they said good night with one flash.",
    )
    t.paragraph()
    t.tell(
        "One evening {b} saw three flashes.",
        "Then, on a dark evening, {b} saw the lamp: one, two, three.",
    )
    t.quote(b, "Three flashes! {a} needs help!", "That is not good night. That is help!")
    t.tell(
        "{b} took {tool} and a lamp and hurried to {p}.",
        (
            "{b} did not wait. {b.he} packed {tool} and ran to {p}."
            if b.role != "robot"
            else "{b} did not wait. It packed {tool} and rolled to {p}."
        ),
    )
    t.start(p, b)
    t.tell("{a} was waiting. {trouble}.", "Now {b} saw it: {trouble}.")
    t.quote(a, "I am so glad that you saw my light!", "You came! Now we can do it together.")
    t.tell(
        "With {tool} they put it right before midnight.",
        "They worked side by side, and with {tool} it was soon done.",
    )
    t.happy(a)
    t.paragraph()
    t.tell(
        "Back home, {b} sent two flashes: all is well.",
        "Late that night two flashes went from {q} to {p}, and two flashes came back.",
    )
    t.maybe(
        0.6,
        "A small light can carry a big message.",
        "It is good to agree on the words before they are needed.",
    )
    t.fact("What did three flashes mean?", "Three flashes meant help.")
    t.fact("Why did {a} need help?", "{a} needed help because {trouble}.")
    t.fact("What did {b} bring?", "{b} brought {tool}.")
