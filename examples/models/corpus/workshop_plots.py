"""Plots about machines, measuring and making things.

Each function takes a Teller, lets something happen in its world, and leaves a finished story
there, with topics (what one could have asked a story about) and facts (what one can ask after it).
"""

from . import machines, world
from .teller import Teller, with_article


def repair(t: Teller) -> None:
    """A machine stops; its fault shows a clue; the right tool lies somewhere else."""
    a, b = t.pair()
    m = t.pick(machines.MACHINES)
    fault = t.pick(machines.FAULTS[t.pick(m.kinds)])
    home, away, third = t.places[:3]
    spot = t.pick(away.spots)
    t.cast(
        a=a,
        b=b,
        m=m.name,
        p=home,
        q=away,
        r=third,
        tool=fault.tool,
        spot=spot,
        use=m.use,
        cause=fault.cause,
        clue=fault.clue,
    )
    t.topics += [
        f"a broken {m.name}",
        f"{fault.cause}",
        f"{a.kind} named {a}",
        f"{b.kind} named {b}",
    ]

    t.introduce(a, home)
    t.befriend(a, b)
    t.scene(home, a, b)
    t.tell(
        "They wanted to {use}, but the {m} did not work. It {symptom}.",
        "Suddenly the {m} stopped. It {symptom}.",
        "Something was wrong with the {m}. It {symptom}.",
        "{a} switched on the {m}, but it {symptom}.",
        symptom=m.symptom,
    )
    t.maybe(0.4, '"Without the {m} we cannot {use}," said {b}.', "Without it nobody could {use}.")
    t.paragraph()
    if t.chance(0.5):
        t.tell(
            "First {a} gave the {m} a little shake. Nothing happened.",
            "{a} pressed the switch three times, but that did not help.",
            "{b} waited for a while, but the {m} did not get better by itself.",
            "{a} knocked on the {m}. It still {symptom}.",
            symptom=m.symptom,
        )
    t.quote(
        b,
        "Let us look inside.",
        "We should open it and look.",
        "Do not hit it. Look at it first.",
        "What could be the reason?",
    )
    t.tell(
        "{a} opened the {m} and looked closely. {clue}.",
        "Together they opened the cover. {clue}.",
        "Then {a} saw it: {clue}.",
    )
    t.quote(a, "It is only {cause}.", "I see! The reason is {cause}.", "Look, here is {cause}!")
    t.quote(
        b,
        "Then we have to find {tool}.",
        "For that we need {tool}.",
        "We can mend that with {tool}.",
    )
    t.paragraph()
    if t.chance(0.45):
        t.tell(
            "{a} looked {r.at} first, but did not find {tool} there.",
            "At first they searched {r.at}. They found only an old sock.",
        )
        t.tell(
            "Then {b} remembered that {tool} lay {q.at}, {spot}.",
            'Then {b} said, "I saw {tool} {q.at}, {spot}."',
        )
    else:
        t.tell("{b} knew that {tool} lay {q.at}, {spot}.", "Usually {tool} lay {q.at}, {spot}.")
    goer = t.pick((a, b))
    t.go(away, goer)
    t.tell("{tool} lay {spot}.", "{x} looked {spot} and found {tool}.", x=goer)
    t.take(goer, fault.tool)
    t.tell(
        "Then {x} went back to {p}.",
        "{x} carried {tool} back to {p}.",
        "Soon {x} was back {p.at}.",
        x=goer,
    )
    t.start(home, goer)
    fixer = goer
    if t.chance(0.4):
        fixer = b if goer is a else a
        t.give(goer, fixer, fault.tool)
    t.paragraph()
    t.tell(
        "{x} {fix}.",
        "Slowly and carefully, {x} {fix}.",
        x=fixer,
        fix=fault.fix.format(tool=fault.tool),
    )
    t.quote(fixer, "Now try it!", "Let us see if it works.", "Please switch it on.")
    t.tell(
        "The {m} {works}.", "At once the {m} {works}.", "It worked! The {m} {works}.", works=m.works
    )
    t.happy(b if fixer is a else a)
    t.maybe(0.5, "Now they could {use} again.", "Everyone could {use} again.")
    if t.chance(0.7):
        t.moral(fault.lesson, a)
    t.close(a, b)
    t.fact("What was wrong with the {m}?", "It had {cause}: {clue}.")
    t.fact("Where did {x} find {tool}?", "{x} found {tool} {q.at}, {spot}.", x=goer)
    t.fact("Who repaired the {m}?", "{x} repaired the {m} with {tool}.", x=fixer)


def sensor(t: Teller) -> None:
    """A reading is out of its range; the reason is found and removed; the reading comes back."""
    a, b = t.robot(), t.pick((t.child, t.adult))()
    s = t.pick(machines.SENSORS)
    low = t.chance(0.5)
    bad = t.rng.randint(*(s.low if low else s.high))
    good = t.rng.randint(*s.normal)
    after = t.rng.randint(*s.normal)
    p, q = t.places[:2]
    t.cast(
        a=a,
        b=b,
        s=s.name,
        p=p,
        q=q,
        bad=bad,
        good=good,
        after=after,
        unit=s.unit,
        what=s.measures,
        sign=s.low_sign if low else s.high_sign,
        reason=s.low_reason if low else s.high_reason,
        action=s.low_action if low else s.high_action,
        level="low" if low else "high",
        opposite="high" if low else "low",
    )
    t.topics += [f"a {s.name}", f"{a.kind} named {a}", "a sensor"]
    t.introduce(a, p)
    t.tell(
        "Its work was to read the {s} {p.at} every morning.",
        "Every hour it read the {s} {p.at} and wrote the number down.",
        "It looked after the {s}, which measures {what}.",
    )
    t.tell(
        "Most of the time the {s} showed about {good} {unit}.",
        "A good number was {good} {unit}.",
        "On a normal day it said {good} {unit}.",
    )
    t.scene(p, a)
    t.tell(
        "The {s} showed {bad} {unit}.",
        "This time the number was {bad} {unit}.",
        "{a} read the {s}: {bad} {unit}.",
    )
    t.quote(
        a,
        "That is much too {level}.",
        "{bad} is too {level}. Something is wrong.",
        "Yesterday it was {good}. Why is it {bad} today?",
    )
    t.paragraph()
    if t.chance(0.5):
        t.tell(
            "First {a} checked the {s} itself. It was clean and its wire was tight, so the number"
            " was true.",
            "{a} measured a second time. Again it was {bad} {unit}.",
            "A sensor can be wrong, so {a} looked around. {sign}.",
        )
    else:
        t.tell("{sign}.")
    t.go(q, a)
    t.tell("{b} was there.", "There {a} met {b}.", "{a} found {b} there.")
    t.start(q, b)
    t.quote(
        a,
        "The {s} shows {bad} {unit}. Please come with me.",
        "{b}, please look at the {s}. It says {bad} {unit}.",
        "Can you help me to find the reason?",
    )
    t.go(p, a, b)
    t.tell(
        "They looked around and soon they knew the reason: {reason}.",
        "{b} looked left and right. Then {b.he} saw that {reason}.",
        "It was not hard to find out: {reason}.",
    )
    t.tell("{b} {action}.", "At once {b} {action}.", "{a} held the light while {b} {action}.")
    t.paragraph()
    t.tell(
        "After an hour {a} read the {s} again.",
        "They waited for a while. Then {a} looked at the {s}.",
        "A little later {a} measured again.",
    )
    t.tell(
        "It showed {after} {unit}.",
        "Now it was {after} {unit}.",
        "The number was {after} {unit}, neither too low nor too high.",
    )
    t.happy(a)
    t.quote(
        b,
        "A good sensor tells the truth, and a good robot listens.",
        "Well done, {a}. You noticed it in time.",
        "Numbers help us to see what we cannot feel.",
        "Thank you for watching so well.",
    )
    t.maybe(
        0.5,
        "{a} wrote the number {after} in its book.",
        "From then on {a} checked the {s} twice a day.",
    )
    t.fact("What did the {s} show at first?", "At first the {s} showed {bad} {unit}.")
    t.fact("Why was the number too {level}?", "It was too {level} because {reason}.")
    t.fact("What did {b} do?", "{b} {action}.")


def build(t: Teller) -> None:
    """Three parts are gathered, the thing is built, fails once for a reason, and is improved."""
    a, b = t.pair()
    name, parts, weakness, remedy, success, why = t.pick(world.PROJECTS)
    p, q, r, s = t.places[:4]
    spots = [t.pick(x.spots) for x in (q, r, s)]
    t.cast(
        a=a,
        b=b,
        name=name,
        p=p,
        q=q,
        r=r,
        s=s,
        one=parts[0],
        two=parts[1],
        three=parts[2],
        weakness=weakness,
        remedy=remedy,
        why=why,
        spot1=spots[0],
        spot2=spots[1],
        spot3=spots[2],
    )
    t.topics += [
        f"{with_article(name)}",
        f"building {with_article(name)}",
        f"{a.kind} named {a}",
        f"{b.kind} named {b}",
    ]
    t.introduce(a, p)
    t.befriend(a, b)
    t.scene(p, a, b)
    t.quote(
        a,
        "I want to build {x}.",
        "Let us build {x}!",
        "Shall we build {x} together?",
        x=with_article(name),
    )
    t.quote(
        b,
        "Good idea! We need {one}, {two} and {three}.",
        "For that we need {one}, {two} and {three}.",
        "Yes! First we have to find {one}, {two} and {three}.",
    )
    t.paragraph()
    t.tell(
        "They found {one} {q.at}, {spot1}.",
        "{one} lay {q.at}, {spot1}.",
        "{q.at} they found {one}.",
    )
    t.tell(
        "{two} came from {r}.", "{a} found {two} {r.at}, {spot2}.", "{b} brought {two} from {r}."
    )
    t.tell(
        "And {three} lay {s.at}, {spot3}.",
        "Last of all, {b} found {three} {s.at}.",
        "It took longer to find {three}. At last they looked {s.at}, {spot3}.",
    )
    t.tell(
        "They carried everything to {p} and began to work.",
        "Now they had all three things, and the work began {p.at}.",
    )
    t.tell(
        "{a} measured and {b} held the parts.",
        "{b} read the plan and {a} put the parts together.",
        "They worked until noon, and at last the {name} was ready.",
    )
    t.paragraph()
    t.tell(
        "But when they tried the {name}, {weakness}.",
        "The first test went badly: {weakness}.",
        "They tried it out. Oh no, {weakness}!",
    )
    if t.chance(0.5):
        t.sad(a)
    t.quote(
        b,
        "A first try is only a first try.",
        "Now we know what to change.",
        "Why did that happen?",
        "That is not bad. That is a test.",
    )
    t.quote(a, "I think {why}.", "I see it now. {why}.", "It happened because {why}.")
    t.tell(
        "So {a} {remedy}.", "Then {b} {remedy}.", "They thought about it, and then {a} {remedy}."
    )
    t.paragraph()
    t.tell(
        "They tried again. {success}.",
        "The second test was much better. {success}.",
        "This time it worked. {success}.",
        success=success,
    )
    t.happy(a)
    t.happy(b)
    t.maybe(
        0.6,
        "They had made it with their own hands.",
        "They painted the {name} {colour} and showed it to everyone.",
        "{a} wrote down what they had changed and why.",
        colour=t.pick(world.COLOURS),
    )
    t.close(a, b)
    t.fact("What did {a} and {b} build?", "They built {x}.", x=with_article(name))
    t.fact("What did they need?", "They needed {one}, {two} and {three}.")
    t.fact("What went wrong in the first test?", "In the first test {weakness}, because {why}.")


def sorting(t: Teller) -> None:
    """Counting shows that one is missing, and counting brings it back."""
    a, b = t.robot(), t.pick((t.child, t.adult))()
    item = t.pick(("screw", "nail", "bolt", "marble", "bead", "battery", "shell", "coin"))
    items = "batteries" if item == "battery" else item + "s"
    total = t.rng.randint(6, 20)
    p, q = t.places[:2]
    one, two = t.rng.sample(world.COLOURS, 2)
    first = t.rng.randint(2, total - 3)
    second = total - first
    spot = t.pick(p.spots)
    t.cast(
        a=a,
        b=b,
        item=item,
        items=items,
        total=total,
        less=total - 1,
        p=p,
        one=one,
        two=two,
        first=first,
        second=second,
        spot=spot,
    )
    t.topics += [f"counting {items}", f"{a.kind} named {a}", f"a missing {item}"]
    t.introduce(a, p)
    t.tell(
        "More than anything, it loved to count.",
        "It liked things to be in order.",
        "Its favourite work was to sort things.",
    )
    t.scene(p, a, b)
    t.quote(
        b,
        "Please sort these {total} {items} for me.",
        "Here are {total} {items}. Can you sort them by colour?",
    )
    t.tell(
        "{a} made two boxes, {some} one and {other} one.",
        "{a} brought two boxes. One was {one} and the other was {two}.",
        some=with_article(one),
        other=with_article(two),
    )
    t.tell("It put {first} {items} into the {one} box.", "{first} {items} went into the {one} box.")
    t.tell(
        "But for the {two} box there were only {short}.",
        "Into the {two} box it put {short}.",
        short=second - 1,
    )
    t.tell("{first} and {short} make {less}.", "Together that makes {less}.", short=second - 1)
    t.quote(
        a,
        "One {item} is missing!",
        "There should be {total}. One is missing.",
        "I have only {less}. Where is the last {item}?",
    )
    t.paragraph()
    t.quote(b, "Maybe you made a mistake.", "Count again, slowly.", "Are you sure?")
    t.tell("{a} counted again. It was still {less}.", "Again it came to {less}.")
    t.tell(
        "Then they searched together, on the floor and on the table.",
        "They moved the chairs and looked everywhere.",
    )
    finder = t.pick((a, b))
    t.cast(x=finder)
    t.tell(
        "{x} found the last {item} {spot}.", "There was something {spot}. It was the last {item}!"
    )
    t.tell(
        "{a} laid it into the {two} box. Now there were {second} in it.",
        "Now the {two} box had {second} {items}.",
    )
    t.quote(a, "{first} and {second} make {total}.", "Now it is {total}. All is well.")
    t.happy(a)
    t.maybe(
        0.6,
        "{b} said that a good count is worth more than a quick guess.",
        "{b} was glad that {a} had counted so well.",
    )
    t.fact("How many {items} were there in all?", "There were {total} {items} in all.")
    t.fact("Where was the last {item}?", "The last {item} was {spot}.")
    t.fact(
        "How many {items} were in the {one} box?", "There were {first} {items} in the {one} box."
    )


def wrong_scale(t: Teller) -> None:
    """An instrument is wrong by a fixed amount; a known weight shows it."""
    a, b = t.pair()
    p = t.places[0]
    off = t.rng.randint(1, 4)
    true = t.rng.randint(2, 9)
    goods = t.pick(("apples", "flour", "nails", "potatoes", "honey", "fish", "pears", "sand"))
    why = t.pick(
        (
            "a pebble lay under the plate",
            "some old dough stuck to the plate",
            "the pointer was bent",
            "the plate was not level",
        )
    )
    fix = {
        "a pebble lay under the plate": "took the pebble away",
        "some old dough stuck to the plate": "cleaned the plate",
        "the pointer was bent": "bent the pointer straight",
        "the plate was not level": "put a thin piece of wood under one foot",
    }[why]
    t.cast(
        a=a,
        b=b,
        p=p,
        off=off,
        true=true,
        shown=true + off,
        one=1 + off,
        goods=goods,
        why=why,
        fix=fix,
    )
    t.topics += ["a scale", "a wrong scale", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.scene(p, a, b)
    t.tell(
        "They weighed a bag of {goods}. The scale showed {shown} kilos.",
        "{a} put a bag of {goods} on the scale. It said {shown} kilos.",
    )
    t.quote(
        b,
        "That cannot be. The bag is not so heavy.",
        "{shown} kilos? I can lift it with one hand.",
        "Strange. Yesterday it was less.",
    )
    t.quote(
        a,
        "How can we find out if the scale is right?",
        "Maybe the scale is wrong.",
        "Let us test the scale.",
    )
    t.paragraph()
    t.tell(
        "{b} brought an iron weight of exactly 1 kilo and put it on the scale.",
        "They had a weight of exactly 1 kilo. {a} put it on the scale.",
    )
    t.tell("The scale showed {one} kilos.", "It showed {one}.")
    t.quote(
        a,
        "So it always shows {off} too much.",
        "It should be 1, but it is {one}. That is {off} too much.",
    )
    t.tell("They looked closely and saw that {why}.", "Then {b} saw the reason: {why}.")
    t.tell("{a} {fix}.", "Carefully {b} {fix}.")
    t.tell(
        "Now the weight showed exactly 1.",
        "They tried the weight again. It was 1, as it should be.",
    )
    t.paragraph()
    t.tell(
        "They weighed the {goods} once more. It was {true} kilos.",
        "Now the bag of {goods} weighed {true} kilos.",
    )
    t.quote(b, "{shown} less {off} is {true}. That is right.", "I knew it. {true} kilos.")
    t.happy(a)
    t.moral(
        t.pick(
            (
                "a tool that measures must be tested with something known",
                "one should ask how a number was made",
            )
        ),
        a,
    )
    t.fact("How much too much did the scale show?", "The scale showed {off} too much.")
    t.fact("Why was the scale wrong?", "The scale was wrong because {why}.")
    t.fact("How heavy was the bag of {goods}?", "The bag weighed {true} kilos.")


def two_sensors(t: Teller) -> None:
    """Two instruments disagree; a third look decides."""
    a, b = t.pair()
    p = t.places[0]
    good = t.rng.randint(16, 24)
    bad = good + t.pick((9, 11, 12, 14))
    why, fix = t.pick(
        (
            ("hung right above the stove", "moved it to the other wall"),
            ("stood in the bright sun", "moved it into the shade"),
            ("touched the warm water pipe", "hung it on a nail away from the pipe"),
            ("lay next to a hot lamp", "put it far away from the lamp"),
        )
    )
    left, right = t.pick((("red", "blue"), ("old", "new"), ("big", "small"), ("round", "square")))
    t.cast(a=a, b=b, p=p, good=good, bad=bad, why=why, fix=fix, left=left, right=right)
    t.topics += ["two thermometers", "a sensor", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.scene(p, a, b)
    t.tell(
        "There were two thermometers. The {left} one showed {bad} degrees, and the {right} one"
        " showed {good} degrees.",
        "The {left} thermometer said {bad} degrees, but the {right} thermometer said {good}"
        " degrees.",
    )
    t.quote(a, "Which one is right?", "They cannot both be right.", "Who tells the truth?")
    t.quote(
        b,
        "We need a third one to decide.",
        "Let us look where they hang.",
        "Do not guess. Let us find out.",
    )
    t.paragraph()
    t.tell(
        "{a} brought a third thermometer and waited for ten minutes. It showed {good} degrees.",
        "They took a third thermometer. After a while it showed {good} degrees, too.",
    )
    t.quote(a, "Then the {left} one is wrong.", "Two of them agree. The {left} one must be wrong.")
    t.tell(
        "They looked at the {left} thermometer again. It {why}!",
        "Then {b} noticed that the {left} one {why}.",
    )
    t.quote(
        b,
        "It is not broken. It only stands in the wrong place.",
        "It tells the truth about its own place, but not about the room.",
    )
    t.tell("{a} {fix}.", "So {a} {fix}.")
    t.tell(
        "Half an hour later all three showed {good} degrees.",
        "Soon it showed {good} degrees like the others.",
    )
    t.happy(a)
    t.moral(
        t.pick(
            (
                "a sensor must be in the right place",
                "two that agree are better than one that is loud",
                "one should ask twice before one believes a number",
            )
        ),
        a,
    )
    t.fact("Which thermometer was wrong?", "The {left} thermometer was wrong.")
    t.fact("Why was it wrong?", "It was wrong because it {why}.")
    t.fact("How many degrees was it really?", "It was really {good} degrees.")
