"""Plots about going somewhere: to search, to help, to explore.

Each function takes a Teller, lets something happen in its world, and leaves a finished story
there, with topics (what one could have asked a story about) and facts (what one can ask after it).
"""

from . import world
from .teller import Teller, with_article


def lost(t: Teller) -> None:
    """A small thing is lost. They think about where it was seen last and search place by place."""
    a, b = t.pair()
    thing = t.pick(world.SMALL_THINGS)
    p, q, r = t.places[:3]
    spot = t.pick(r.spots)
    wrong = t.pick(q.spots)
    t.cast(
        a=a,
        b=b,
        thing=thing,
        p=p,
        q=q,
        r=r,
        spot=spot,
        wrong=wrong,
        other=t.pick([s for s in world.SMALL_THINGS if s != thing]),
    )
    t.topics += [f"a lost {thing}", f"{a.kind} named {a}", f"{b.kind} named {b}"]
    t.introduce(a, p)
    t.tell(
        "{a} had a {thing} and took good care of it.",
        "{a.his} greatest treasure was a {thing}.",
        "{a} always carried a {thing}.",
    )
    t.befriend(a, b)
    t.scene(p, a, b)
    t.tell(
        "{a} wanted to look at the {thing}, but it was gone.",
        "Suddenly {a} noticed that the {thing} was gone.",
        "{a} looked for the {thing}, but it was not in its place.",
    )
    t.sad(a)
    t.quote(
        b,
        "Do not worry. We will find it.",
        "When did you see it last?",
        "Let us think before we run.",
        "Where have you been today?",
    )
    t.quote(
        a,
        "This morning I was {q.at}, and after that I was {r.at}.",
        "I was {q.at} first. Then I went to {r}.",
        "I had it {q.at}. Later I was {r.at}.",
    )
    t.paragraph()
    t.go(q, a, b)
    t.tell(
        "They looked {wrong}, but they found only {other}.",
        "{b} looked {wrong}. There was {other}, but no {thing}.",
        "{a} searched {wrong} and found nothing.",
        other=with_article(t.env["other"]),
    )
    t.maybe(0.4, '"It is not here," said {a}.', '"Then there is one more place," said {b}.')
    t.paragraph()
    t.go(r, a, b)
    finder = t.pick((a, b))
    if t.setting != "moon base" and t.chance(0.35):
        pet = t.animal()
        t.cast(pet=pet)
        t.tell(
            "{kind} named {pet} sat there and {sound}.",
            kind=with_article(pet.kind),
            sound=pet.sound,
        )
        t.tell("It looked {spot} again and again.", "It kept looking {spot}.")
    else:
        t.tell(
            "Something small was shining {spot}.",
            "{x} looked {spot}.",
            "{x} saw something {spot}.",
            x=finder,
        )
    t.tell("There lay the {thing}!", "And there was the {thing}!", "It was the {thing}!")
    finder.holding.append(f"the {thing}")
    if finder is b:
        t.tell("{b} picked it up and gave it to {a}.", "{b} took the {thing} and handed it to {a}.")
    else:
        t.tell("{a} picked it up and wiped off the dust.", "{a} took it and held it tight.")
    t.happy(a)
    t.thank(a, b)
    t.tell(
        "{a} had put it down there in the morning and forgotten it.",
        "It must have fallen down there in the morning.",
        "{a} remembered now: that was where {a.he} had rested in the morning.",
    )
    t.maybe(
        0.6,
        "After that {a} kept the {thing} on a string.",
        "From then on {a} put the {thing} back in its place every evening.",
        "{a} made a small box for the {thing}, so that it would not get lost again.",
    )
    t.close(a, b)
    t.fact("What did {a} lose?", "{a} lost the {thing}.")
    t.fact("Where was the {thing}?", "The {thing} was {r.at}, {spot}.")
    t.fact("Who helped {a}?", "{b} helped {a} to look for the {thing}.")


def rescue(t: Teller) -> None:
    """An animal is stuck; the first idea does not work, the second one does."""
    a, pet = t.pick((t.child, t.robot))(), t.animal()
    p, q = t.places[:2]
    trouble, failed, tool, done = t.pick(
        (
            (
                "sat high up on a beam and did not dare to come down",
                "called it, but it did not move",
                "the ladder",
                "climbed up and carried {pet} down in one arm",
            ),
            (
                "was stuck under a heavy crate",
                "tried to lift the crate, but it was too heavy",
                "the iron bar",
                "pushed {tool} under the crate and lifted it just enough",
            ),
            (
                "had fallen into a deep hole",
                "reached down, but the hole was too deep",
                "the long plank",
                "put {tool} into the hole so that {pet} could walk up",
            ),
            (
                "was caught in an old net",
                "pulled at the net, but the knots only got tighter",
                "the scissors",
                "cut the net with {tool}, one string after another",
            ),
            (
                "was stuck in a narrow pipe",
                "pulled gently, but {pet} did not come out",
                "the bottle of soap",
                "made the pipe slippery with {tool}",
            ),
            (
                "had a thorn in its foot",
                "tried to get the thorn out, but it was too small to hold",
                "the tweezers",
                "pulled the thorn out with {tool}",
            ),
        )
    )
    spot = t.pick(q.spots)
    t.cast(a=a, pet=pet, p=p, q=q, tool=tool, kind=pet.kind, spot=spot)
    t.topics += [
        f"{pet.kind} named {pet}",
        f"{a.kind} named {a}",
        f"{with_article(pet.kind)} in trouble",
    ]
    t.introduce(a, p)
    t.befriend(a, pet)
    t.weather()
    t.scene(p, a)
    t.tell(
        "{a} heard a small sound. It was {pet}.",
        "Suddenly {pet} {sound}.",
        "Where was {pet}? Then {a} heard the {kind}.",
        sound=pet.sound,
    )
    t.tell("The {kind} {trouble}.", "The poor {kind} {trouble}.", trouble=trouble)
    t.quote(
        a,
        "Stay calm, {pet}. I will help you.",
        "Oh no! Wait, {pet}, I am coming!",
        "Do not be afraid. I will find a way.",
    )
    t.tell("{a} {failed}.", "First {a} {failed}.", failed=failed.format(pet=pet))
    t.paragraph()
    t.tell(
        "{a} stopped and thought.", "{a} thought about it for a moment.", "Then {a} had an idea."
    )
    t.quote(a, "I need {tool}.", "With {tool} it could work.", "I know what I need: {tool}!")
    t.go(q, a)
    t.tell("{tool} lay {spot}.", "{a} found {tool} {spot}.", "{spot} lay {tool}.")
    t.take(a, tool)
    t.tell(
        "{a} ran back to {p}." if a.role == "child" else "{a} rolled back to {p}.",
        "Quickly {a} went back to {p}.",
    )
    t.paragraph()
    t.tell("{a} {done}.", "Very gently {a} {done}.", done=done.format(pet=pet, tool=tool))
    t.tell("{pet} was free!", "At last {pet} was safe.", "The {kind} was safe again.")
    t.happy(pet)
    t.maybe(
        0.6,
        "{a} gave the {kind} {snack}, and {pet} ate it all.",
        "As a reward {a} shared {snack} with {pet}.",
        snack=with_article(t.pick(world.SNACKS)),
    )
    t.tell(
        "After that {pet} followed {a} wherever {a.he} went.",
        "From that day on they were friends for life.",
        "{pet} stayed close to {a} for the rest of the day.",
    )
    t.maybe(
        0.5,
        "Being calm had helped more than being strong.",
        "It is good to think first and then to act.",
    )
    t.fact("What happened to {pet}?", "{pet} {trouble}.", trouble=trouble)
    t.fact("What did {a} use to help {pet}?", "{a} used {tool}.")
    t.fact("Where did {a} find {tool}?", "{a} found {tool} {q.at}, {spot}.")


def delivery(t: Teller) -> None:
    """Something has to be brought from here to there, and the way is blocked."""
    a = t.robot()
    b, c = t.adult(), t.child()
    p, q, r = t.places[:3]
    load = t.pick(
        (
            "a basket of eggs",
            "a box of screws",
            "a warm loaf of bread",
            "a bottle of medicine",
            "a letter",
            "a bag of seeds",
            "a glass of honey",
            "a new lens",
        )
    )
    block, bad, clever = t.pick(
        (
            (
                "a deep puddle lay across the path",
                "drive through the puddle",
                "laid two boards over the puddle and rolled across",
            ),
            (
                "a fallen tree lay across the path",
                "push the tree away",
                "drove slowly around the tree, through the grass",
            ),
            ("the gate was closed", "break the gate", "lifted the latch with a bent wire"),
            (
                "a flock of geese stood in the way",
                "chase the geese",
                "threw some grain to the side, and the geese ran after it",
            ),
            (
                "the hill was too steep",
                "go up at full speed",
                "went up in wide curves, left and right",
            ),
            (
                "thick fog covered everything",
                "drive on without seeing",
                "followed the white stones beside the path, one by one",
            ),
        )
    )
    t.cast(
        a=a,
        b=b,
        c=c,
        p=p,
        q=q,
        load=load,
        block=block,
        bad=bad,
        clever=clever,
        the=("the " + load.split(" ", 1)[1]),
    )
    t.topics += [f"{a.kind} named {a}", "a delivery", load]
    t.introduce(a, p)
    t.scene(p, a, b)
    t.quote(
        b,
        "Please bring {load} to {c}. {c} is {q.at}.",
        "{a}, can you take {load} to {c}?",
        "{c} needs {load}. Please hurry, but be careful.",
    )
    t.quote(a, "Yes, I will.", "You can count on me.", "I will be careful.")
    t.tell(
        "{a} took {the} and set out for {q}.", "{a} put {the} into its box and rolled off to {q}."
    )
    a.holding.append(load)
    t.paragraph()
    t.tell("Half way there {block}.", "All went well until {block}.", "But on the way {block}.")
    t.tell(
        "{a} could try to {bad}, but then {the} might be lost.",
        "{a} did not want to {bad}. That would be dangerous for {the}.",
    )
    t.tell(
        "It stopped, looked around and thought.",
        "For a minute {a} only looked and counted and thought.",
    )
    t.tell("Then {a} {clever}.", "At last it had an idea. {a} {clever}.")
    t.maybe(
        0.4,
        "It took a long time, but nothing fell down.",
        "It looked into its box. Everything was still there.",
    )
    t.paragraph()
    t.tell(
        "When {a} came to {q}, {c} was already waiting.",
        "At last {a} reached {q}, where {c} stood and waved.",
    )
    t.start(q, a, c)
    a.holding.remove(load)
    t.tell(
        "{a} gave {the} to {c}.",
        "{c} took {the} with both hands.",
        "Proudly {a} handed over {the}.",
    )
    t.quote(
        c,
        "You are late, but everything is whole. Thank you!",
        "Was it a hard way?",
        "Thank you, {a}! You are the best of all robots.",
    )
    t.quote(
        a,
        "There was something in the way, so I found another way.",
        "Slow and safe is better than fast and broken.",
        "I only had to think for a minute.",
    )
    t.happy(c)
    t.maybe(
        0.5,
        "In the evening {a} was back {p.at} and told {b} the whole story.",
        "{b} was proud of {a}.",
    )
    t.fact("What did {a} carry?", "{a} carried {load}.")
    t.fact("What was the problem on the way?", "On the way {block}.")
    t.fact("Who got {the}?", "{c} got {the}.")


def race(t: Teller) -> None:
    """The fast one makes a mistake; the careful one arrives."""
    a, b = t.robot(), t.robot()
    c = t.child()
    p, q = t.places[:2]
    mistake, why = t.pick(
        (
            ("ran out of power half way", "had not charged its battery"),
            ("took the wrong turn", "had not looked at the map"),
            ("lost a wheel at the first bend", "had not checked its screws"),
            ("slipped on the wet stones", "had not looked at the ground"),
            ("stopped to rest and fell asleep", "was too sure that it would win"),
        )
    )
    t.cast(a=a, b=b, c=c, p=p, q=q, mistake=mistake, why=why)
    t.topics += ["a race", "a race between two robots", f"{a.kind} named {a}"]
    t.tell(
        "{a} was a fast robot, and {b} was a careful one.",
        "Everyone said that {a} was fast and that {b} was slow.",
        "Two robots lived near {p}. {a} was quick and loud. {b} was slow and exact.",
    )
    t.scene(p, a, b)
    t.quote(
        a,
        "I am the fastest robot of all!",
        "I bet that I am faster than you, {b}!",
        "Nobody can beat me.",
    )
    t.quote(
        b,
        "Let us see. We race from here to {q}.",
        "Then let us have a race to {q}.",
        "Maybe. Shall we race to {q}?",
    )
    t.tell(
        "Before the start {b} checked its wheels, its battery and the map.",
        "{b} oiled its wheels and read the map. {a} only laughed.",
    )
    t.tell("{c} counted to three and waved a flag.", '{c} shouted, "Go!"')
    t.paragraph()
    t.tell("{a} shot away in a cloud of dust.", "{a} was out of sight in a moment.")
    t.tell(
        "{b} rolled on at the same speed, neither fast nor slow.",
        "{b} drove steadily and watched the path.",
    )
    t.tell("But {a} {mistake}, because it {why}.", "Then it happened: {a} {mistake}. It {why}.")
    t.tell("After a while {b} came along.", "Soon {b} was there, too.")
    helped = t.chance(0.5)
    if helped:
        t.tell(
            "{b} stopped and helped {a}, and they went on together.",
            "{b} did not laugh. It stopped and helped {a}.",
        )
        t.tell("Side by side they reached {q}.", "So they both came to {q} at the same time.")
        t.quote(c, "You both win!", "That was the best race that I have ever seen!")
        t.quote(
            a,
            "You could have won alone, {b}. Thank you.",
            "Next time I will check everything first, like you.",
        )
    else:
        t.tell("{b} reached {q} first.", "{b} rolled over the line at {q}, and {c} cheered.")
        t.quote(c, "{b} wins!", "The winner is {b}!")
        t.quote(a, "You were better prepared than I was.", "I was fast, but you were wise.")
    t.moral(
        t.pick(
            (
                "being prepared is better than being fast",
                "a good start is made before the start",
                "slow and steady goes far",
            )
        ),
        a,
    )
    t.fact("Why did {a} not win alone?", "{a} {mistake}, because it {why}.")
    t.fact("Where did the race end?", "The race ended at {q}.")
    t.fact(
        "Who won the race?",
        "They both reached the end together." if helped else "{b} won the race.",
    )


def rover(t: Teller) -> None:
    """A robot explores, watches its battery and turns back in time."""
    a, b = t.robot(), t.pick((t.child, t.adult))()
    p, q, r = t.places[:3]
    start = t.pick((100, 90, 80))
    mid = start - t.pick((20, 22, 25))
    low = start // 2 + t.rng.randint(1, 6)
    finds = [
        "a round stone with silver lines",
        "an old brass sign",
        "a footprint as big as a plate",
        "a piece of clear crystal",
    ]
    if t.setting != "moon base":
        finds += ["a nest with three eggs", "a small blue flower", "a coin from a far country"]
    find = t.pick(finds)
    spot = t.pick(r.spots)
    t.cast(a=a, b=b, p=p, q=q, r=r, start=start, mid=mid, low=low, find=find, spot=spot)
    t.topics += ["an explorer", f"{a.kind} named {a}", "a robot that explores"]
    t.introduce(a, p)
    t.tell(
        "It wanted to see what was behind {q}.",
        "It dreamed of long journeys.",
        "It wanted to be an explorer.",
    )
    t.scene(p, a, b)
    t.quote(
        b,
        "Your battery has {start} percent. Come back before it is below 20.",
        "You may go, but watch your battery. It is at {start} percent.",
    )
    t.quote(a, "I will watch it well.", "I will send you a message from every place.")
    t.paragraph()
    t.go(q, a)
    t.tell("The battery was at {mid} percent now.", "{a} looked at its battery: {mid} percent.")
    t.tell(
        'It sent a message: "I am {q.at}. All is well."',
        '"I am {q.at}, and I have {mid} percent," it told {b} by radio.',
    )
    t.go(r, a)
    t.tell("There, {spot}, it saw {find}.", "And what was that, {spot}? It was {find}!")
    t.tell(
        "{a} took a picture.",
        "{a} looked at it from all sides and took a picture.",
        "It had never seen anything like that.",
    )
    t.tell(
        "It wanted to go on, but the battery was at {low} percent, and the way back was long.",
        "Should it go on? The battery had {low} percent, and it needed the rest for the way back.",
    )
    t.quote(
        a,
        "An explorer has to come home to tell the story.",
        "I must turn back while I can.",
        "Tomorrow is another day. I will go back.",
    )
    t.paragraph()
    t.tell(
        "Slowly it went back, first to {q} and then to {p}.",
        "It followed its own tracks past {q} and back to {p}.",
    )
    t.start(p, a)
    t.tell("When it arrived, the battery was almost empty.", "It reached the charger just in time.")
    t.tell("{b} plugged it in and looked at the picture.", "{a} showed the picture to {b}.")
    t.quote(
        b, "You found {find}! I am proud of you.", "That is wonderful. And you came back in time."
    )
    t.happy(a)
    t.maybe(
        0.5, "The next day they went there together.", "That night {a} made a map of its journey."
    )
    t.fact("What did {a} find?", "{a} found {find}.")
    t.fact("Where did {a} find it?", "{a} found it {r.at}, {spot}.")
    t.fact(
        "Why did {a} turn back?",
        "{a} turned back because its battery was at {low} percent and the way back was long.",
    )


def forecast(t: Teller) -> None:
    """A careful one trusts the barometer; others laugh, and then it rains."""
    a, b = t.robot(), t.child()
    q = t.pick([x for x in t.places if x.name in world.OUTDOORS])
    p = t.pick([x for x in t.places if x is not q])
    things = t.pick(
        (
            ("rain", "the big umbrella", "stood dry under the umbrella"),
            ("snow", "two warm blankets", "sat warm under the blankets"),
            ("strong wind", "the small tent", "sat safe in the tent"),
        )
    )
    t.cast(a=a, b=b, p=p, q=q, what=things[0], tool=things[1], end=things[2])
    t.topics += ["the weather", "bad weather", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.scene(p, a, b)
    t.quote(b, "The sky is blue. Let us go to {q}!", "What a fine day! Come with me to {q}.")
    t.tell(
        "{a} looked at the barometer. The needle was falling.",
        "But the barometer was falling, and {a} saw it.",
    )
    t.quote(
        a,
        "There will be {what} this afternoon. I will take {tool}.",
        "The air is getting lighter. That means {what}. We should take {tool}.",
    )
    t.quote(b, "There is not one cloud!", "You worry too much, {a}.", "That is only an old needle.")
    t.tell("{b} laughed, but {a} took {tool} along.", "{a} said nothing more and packed {tool}.")
    a.holding.append(things[1])
    t.paragraph()
    t.go(q, a, b)
    t.tell("They played for an hour in the sun.", "At first it was warm and bright.")
    t.tell(
        "Then a dark cloud came over the hill.",
        "Then the wind turned cold, and the sky became dark.",
    )
    t.tell("The {what} came all at once.", "A moment later the {what} began.")
    t.tell("{a} opened its bag and took out {tool}.", "Quickly {a} brought out {tool}.")
    t.tell("Soon they {end}.", "So they {end} and waited.")
    t.quote(b, "How did you know?", "You were right, and I laughed at you. I am sorry.")
    t.quote(
        a,
        "I can not see the future. I only read the needle.",
        "The barometer feels the weather before we do.",
        "When the air gets lighter, bad weather is near.",
    )
    t.tell(
        "After that {b} looked at the barometer every morning.",
        "From then on {b} asked {a} before every trip.",
    )
    t.fact(
        "How did {a} know that bad weather was coming?", "{a} saw that the barometer was falling."
    )
    t.fact("What did {a} take along?", "{a} took {tool}.")
    t.fact("Where did they go?", "They went to {q}.")
