"""Plots about living together: sharing, promises, patience, new friends.

Each function takes a Teller, lets something happen in its world, and leaves a finished story
there, with topics (what one could have asked a story about) and facts (what one can ask after it).
"""

from .teller import Teller, with_article


def share(t: Teller) -> None:
    """Two want the same thing at the same time; a quarrel and a fair way out."""
    a = t.child()
    b = t.child(unlike=a)
    c = t.pick((t.robot, t.adult))()
    thing = t.pick(
        (
            "red kite",
            "small hammer",
            "blue paint",
            "magnifying glass",
            "new bicycle",
            "telescope",
            "drum",
            "wooden sledge",
        )
    )
    p = t.places[0]
    t.cast(a=a, b=b, c=c, thing=thing, p=p)
    t.topics += [f"sharing a {thing}", "a quarrel", f"{a.kind} named {a}"]
    t.scene(p, a, b)
    t.tell(
        "There was only one {thing}, and both wanted it.",
        "Both wanted the {thing} at the same time.",
        "{a} took the {thing}. {b} wanted it too.",
    )
    t.quote(a, "I had it first!", "It is my turn!", "I need it now!")
    t.quote(b, "You always get it!", "That is not fair!", "But I need it as well!")
    t.tell(
        "They pulled and pulled, and the {thing} almost broke.",
        "They did not talk to each other for a long time.",
        "{a} sat down on one side, and {b} sat down on the other side.",
    )
    t.paragraph()
    t.tell(
        "Then {c} came to {p}.", "{c} had heard the noise and came in.", "Just then {c} came along."
    )
    t.quote(c, "What is the matter?", "Why are you so angry?", "What happened here?")
    t.tell("{a} and {b} both talked at the same time.", "{a} told {c} about the {thing}.")
    way = t.pick(
        (
            (
                "One of you uses it until the bell rings, and then the other one does.",
                "took turns",
                "{a} went first, and when the bell rang, {a} gave the {thing} to {b}.",
            ),
            (
                "What could you do with it together?",
                "used it together",
                "{a} held it and {b} watched. Then they changed places.",
            ),
            (
                "One makes the rule, and the other one may choose.",
                "made a rule",
                "{a} made two turns of the same length, and {b} chose the first one.",
            ),
        )
    )
    t.quote(c, way[0])
    t.tell(
        "They thought about it.", "{a} looked at {b}, and {b} looked at {a}.", "That sounded fair."
    )
    t.tell(way[2])
    t.tell(
        "Soon they were laughing again.",
        "It was even more fun than before.",
        "After a while nobody remembered the quarrel.",
    )
    t.quote(b, "I am sorry that I shouted.", "It is better with two.", "Tomorrow you may begin.")
    t.maybe(0.6, "{c} nodded and went back to work.", "{c} was glad and said no more.")
    t.fact("What did {a} and {b} both want?", "They both wanted the {thing}.")
    t.fact("How did they solve the quarrel?", "They {x}.", x=way[1])
    t.fact("Who helped them?", "{c} helped them.")


def promise(t: Teller) -> None:
    """Something promised is forgotten, regretted and made good."""
    a = t.child()
    b = t.adult(unlike=a)
    p, q = t.places[:2]
    task, harm, good = t.pick(
        (
            (
                "water the tomatoes",
                "the leaves of the tomatoes hung down",
                "gave them water every hour until the leaves stood up again",
            ),
            (
                "feed the hens",
                "the hens were loud and hungry",
                "brought them twice as much grain and fresh water",
            ),
            (
                "close the window",
                "the rain had made all the papers wet",
                "hung up the papers, one by one, until they were dry",
            ),
            (
                "charge the small robot",
                "the small robot did not move any more",
                "carried it to its charger and waited beside it",
            ),
            (
                "lock the gate",
                "the goats were out on the road",
                "brought the goats back, one after another",
            ),
            (
                "put the tools away",
                "the tools were wet and had begun to rust",
                "dried the tools, rubbed them with oil and put them in order",
            ),
        )
    )
    toy = t.pick(
        ("a new kite", "a beetle", "a book about the stars", "a snowman", "a paper boat", "a swing")
    )
    t.cast(a=a, b=b, p=p, q=q, task=task, harm=harm, good=good, toy=toy)
    t.topics += ["a promise", "keeping a promise", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.scene(p, a, b)
    t.quote(
        b,
        "I have to go away until the evening. Can you {task}?",
        "Please do not forget to {task}.",
        "Will you {task} for me today?",
    )
    t.quote(a, "Yes, I promise.", "Of course I will.", "You can rely on me.")
    t.tell("{b} thanked {a} and left.", "{b} waved and went away.")
    t.paragraph()
    t.tell(
        "But {q.at} there was {toy}, and {a} played until noon.",
        "Then {a} went to {q} and found {toy}. The hours flew by.",
    )
    t.start(q, a)
    t.tell("{a} forgot all about the promise.", "The promise was forgotten.")
    t.tell(
        "When the sun was low, {a} suddenly remembered.",
        "In the afternoon a thought came like cold water: the promise!",
    )
    t.go(p, a)
    t.tell("It was too late. {harm}.", "{a} saw at once what had happened: {harm}.")
    t.sad(a)
    t.paragraph()
    t.tell(
        "{a} could have told a lie, but {a.he} did not want to.",
        "For a moment {a} wanted to hide. Then {a.he} decided to put things right.",
    )
    t.tell("{a} worked hard and {good}.", "At once {a} {good}.")
    t.tell("In the evening {b} came back.", "Then {b} came home.")
    t.quote(
        a,
        "I forgot my promise. I am sorry.",
        "I must tell you something. I forgot it, but I tried to make it good.",
    )
    t.quote(
        b,
        "Thank you for telling me the truth.",
        "Everyone forgets something once. You made it good, and that counts.",
        "I see how hard you worked.",
    )
    t.tell(
        "{a} tied a string around {a.his} finger, so that {a.he} would remember the next time.",
        "After that {a} wrote every promise on a small board.",
        "The next day {a} did it first of all, before any game.",
    )
    t.fact("What did {a} promise to do?", "{a} promised to {task}.")
    t.fact("Why did {a} forget it?", "{a} played with {toy} {q.at}.")
    t.fact("What did {a} do in the end?", "{a} {good} and told the truth.")


def gift(t: Teller) -> None:
    """A birthday surprise is made in secret from what is at hand."""
    a, b = t.pair()
    c = t.adult()
    p, q = t.places[:2]
    present, material, how = t.pick(
        (
            (
                "a small lamp",
                "an old jar and a wire",
                "put a light into the jar and bent a handle from the wire",
            ),
            (
                "a warm hat",
                "a ball of wool",
                "knitted all afternoon until the last stitch was done",
            ),
            (
                "a picture frame",
                "four pieces of wood",
                "sawed and glued the wood and rubbed it smooth",
            ),
            (
                "a wooden spoon",
                "a piece of birch wood",
                "carved the wood until it was smooth and round",
            ),
            (
                "a music box",
                "a spring and a metal comb",
                "set the spring in a box and bent the comb until it played a tune",
            ),
            ("a flower pot", "a lump of clay", "formed the clay and painted it with small stars"),
        )
    )
    t.cast(
        a=a,
        b=b,
        c=c,
        p=p,
        q=q,
        present=present,
        material=material,
        how=how,
        spot=t.pick(p.spots),
        the="the " + present.split(" ", 1)[1],
    )
    t.topics += ["a birthday", "a present", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.tell(
        "The next day was {c}'s birthday.",
        "Soon it would be the birthday of {c}.",
        "It was one day before {c}'s birthday.",
    )
    t.quote(
        a,
        "What can we give to {c}?",
        "We have no money, but we can make something.",
        "I want to make something for {c}.",
    )
    t.quote(b, "Let us make {present}.", "{c} would like {present}.", "How about {present}?")
    t.go(q, a, b)
    t.tell("There they found {material}.", "{a} found {material}, {spot2}.", spot2=t.pick(q.spots))
    t.tell("They went back to {p} and began.", "Quietly they carried everything to {p}.")
    t.tell("{a} {how}.", "With great care {a} {how}.")
    t.paragraph()
    t.tell("Suddenly they heard steps. It was {c}!", "Then {c} came to the door.")
    t.tell("{b} quickly hid {the} {spot}.", "Just in time {b} pushed {the} out of sight, {spot}.")
    t.quote(c, "What are you doing here?", "You are so quiet today. Is anything wrong?")
    t.quote(b, "Nothing at all.", "We are only tidying up.", "You will see tomorrow.")
    t.tell("{c} looked surprised and went away.", "{c} shook {c.his} head and left.")
    t.paragraph()
    t.tell(
        "The next morning they sang a song and gave {the} to {c}.",
        "On the birthday {a} and {b} brought {the} with a blue ribbon around it.",
    )
    t.happy(c)
    t.quote(
        c,
        "You made this yourselves? It is wonderful!",
        "This is the best present of all.",
        "So that was your secret!",
    )
    t.maybe(
        0.6,
        "{c} used {the} every day.",
        "A present made by hand is made twice: once in the heart and once at the table.",
    )
    t.fact("What did they make for {c}?", "They made {present} for {c}.")
    t.fact("What did they make it from?", "They made it from {material}.")
    t.fact("Where did {b} hide {the}?", "{b} hid {the} {spot}.")


def seed(t: Teller) -> None:
    """A plant grows because somebody looks after it for weeks."""
    a, b = t.child(), t.robot()
    p = t.places[0]
    plant, colour = t.pick(
        (
            ("tomato", "red"),
            ("sunflower", "yellow"),
            ("pumpkin", "orange"),
            ("bean", "green"),
            ("strawberry", "red"),
            ("lemon tree", "white"),
        )
    )
    danger, help_ = t.pick(
        (
            ("the leaves turned pale", "moved the pot into the light"),
            ("small green bugs sat on the leaves", "washed the leaves with soap and water"),
            ("a strong wind bent the stem", "tied the stem to a stick"),
            ("a cold night was coming", "covered the plant with a glass"),
        )
    )
    t.cast(a=a, b=b, p=p, plant=plant, colour=colour, danger=danger, help=help_)
    t.topics += [f"{with_article(plant)}", "a seed", f"{a.kind} named {a}"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.scene(p, a, b)
    t.tell(
        "{a} found a small seed and put it into a pot with dark soil.",
        "{a} planted a {plant} seed in a pot.",
    )
    t.quote(a, "Grow, little seed!", "How long will it take?", "When can we see it?")
    t.quote(
        b,
        "It needs water, light and time.",
        "We must give it a little water every day, but not too much.",
    )
    t.tell("After one week there was nothing to see.", "For seven days nothing happened.")
    t.sad(a)
    t.quote(
        b,
        "Under the ground the work has already begun.",
        "My sensor says that the soil is just right. Be patient.",
    )
    t.paragraph()
    t.tell(
        "On the tenth day a tiny green leaf came out.",
        "Then one morning there was a green point in the pot.",
    )
    t.happy(a)
    t.tell(
        "Every day {b} measured it: 2 centimetres, then 3, then 5.",
        "{b} wrote down how tall it was: 1 centimetre, 2 centimetres, 4 centimetres.",
    )
    t.tell("But then {danger}.", "One day {danger}.")
    t.tell("{b} {help}.", "At once {a} {help}.")
    t.maybe(0.5, "That helped.", "The plant got better.")
    t.paragraph()
    t.tell(
        "After many weeks the {plant} was taller than {b}, and it was full of {colour} colour.",
        "In the summer the {plant} stood tall and shone {colour} in the sun.",
    )
    t.quote(a, "We did it!", "It was so small, and look at it now!", "It was worth the wait.")
    t.tell(
        "{a} kept some seeds for the next year.",
        "They put the new seeds into a little box for the spring.",
    )
    t.fact("What did {a} plant?", "{a} planted {x}.", x=with_article(plant))
    t.fact("What does a seed need?", "A seed needs water, light and time.")
    t.fact("What was the danger?", "The danger was that {danger}.")


def shy_robot(t: Teller) -> None:
    """A new one is afraid to begin; a small kindness helps."""
    a, b = t.robot(), t.child()
    p, q = t.places[:2]
    fear, first, skill = t.pick(
        (
            ("of making mistakes", "dropped a cup", "stack the cups as high as a tower"),
            ("of loud voices", "hid behind a box", "hear the smallest fault in a motor"),
            ("of water", "stopped in front of a puddle", "measure the water in the tank"),
            ("of stairs", "stood at the bottom and shook", "climb the stairs one by one"),
            ("of singing", "made only a tiny squeak", "sing the sweetest song"),
        )
    )
    t.cast(a=a, b=b, p=p, q=q, fear=fear, first=first, skill=skill, look=a.look)
    t.topics += ["a shy robot", "a new friend", f"{a.kind} named {a}"]
    t.tell(
        "{a} was new {p.at}.",
        "One day a new robot came to {p}. Its name was {a}.",
        "{a} had been switched on only a week ago.",
    )
    t.tell("It was afraid {fear}.", "It never said so, but it was afraid {fear}.")
    t.start(p, a)
    t.tell("On the first day it {first}, and somebody laughed.", "On its first morning it {first}.")
    t.tell(
        "After that {a} stayed in a corner, and its {look} was turned to the wall.",
        "From then on {a} stood alone, {spot}.",
        spot=t.pick(p.spots),
    )
    t.paragraph()
    t.tell(
        "{b}, a {trait} {kind}, saw it and sat down beside it.",
        "A {kind} named {b} came by and sat down next to {a}.",
        kind=b.kind,
        trait=t.pick(("kind", "patient", "quiet", "gentle")),
    )
    t.quote(
        b,
        "Hello. I was afraid on my first day, too.",
        "Why are you sitting here all alone?",
        "You do not have to talk. I will just sit here.",
    )
    t.quote(
        a, "I am afraid {fear}.", "What if I do it wrong again?", "Everybody is better than I am."
    )
    t.quote(
        b,
        "Then we will practise together, where nobody can see us.",
        "Everybody was new once. Come with me.",
    )
    t.go(q, a, b)
    t.tell(
        "They practised a little every day.",
        "First they tried something very easy, and then something less easy.",
        "It went wrong four times. The fifth time it went well.",
    )
    t.tell(
        "After two weeks {a} could {skill}.",
        "In the end {a} could {skill}, and it was not afraid any more.",
    )
    t.paragraph()
    t.tell(
        "One day everyone {p.at} saw it.",
        "Then came the day when {a} showed it to everyone {p.at}.",
    )
    t.tell("They clapped, and somebody called its name.", "Nobody laughed. They cheered.")
    t.happy(a)
    t.thank(a, b)
    t.tell(
        "When another new robot came, {a} sat down next to it.",
        "And the next time somebody sat alone, {a} rolled over and said hello.",
    )
    t.fact("What was {a} afraid of?", "{a} was afraid {fear}.")
    t.fact("Who helped {a}?", "{b} helped {a}.")
    t.fact("What could {a} do in the end?", "In the end {a} could {skill}.")


def learn_word(t: Teller) -> None:
    """A robot meets a word that is not in its memory and learns it by living it."""
    a, b = t.robot(), t.child()
    p, q = t.places[:2]
    word, wrong, scene, meaning = t.pick(
        (
            (
                "a joke",
                "a broken sentence",
                (
                    "{b} told a funny story about a goat in a hat, and they laughed until they had"
                    " to sit down"
                ),
                "a joke is a small surprise that makes one laugh",
            ),
            (
                "a secret",
                "a lost file",
                "{b} whispered where the first strawberry grew and asked {a} to tell nobody",
                "a secret is a thing that two can keep like a treasure",
            ),
            (
                "courage",
                "a kind of fuel",
                "{b} was afraid of the dark cellar, and went down all the same to fetch the lamp",
                "courage is to be afraid and to do it all the same",
            ),
            (
                "patience",
                "a slow program",
                "they sat quite still for an hour until a shy bird came close",
                "patience is to wait without getting angry",
            ),
            (
                "a friend",
                "a spare part",
                "{a} got stuck in the mud, and {b} stayed with it until it was free",
                "a friend is one who stays",
            ),
            (
                "a holiday",
                "a fault in the clock",
                "they did nothing useful for a whole day and only looked at the clouds",
                "a holiday is a day that needs no reason",
            ),
            (
                "luck",
                "a number",
                "{b} lost a coin and found a four-leaf clover in the same place",
                "luck is something good that one did not plan",
            ),
        )
    )
    t.cast(a=a, b=b, p=p, q=q, word=word, wrong=wrong, meaning=meaning)
    t.topics += [f"the meaning of {word}", f"{a.kind} named {a}", "a robot that learns"]
    t.introduce(a, p)
    t.befriend(a, b)
    t.tell(
        "{a} knew ten thousand words, but one day it heard a new one.",
        "One day {a} read a word that was not in its memory.",
    )
    t.start(p, a, b)
    t.quote(
        a,
        "What is {word}?",
        "{b}, what does it mean: {word}?",
        "Can you explain something to me? What is {word}?",
    )
    t.quote(a, "Is it {wrong}?", "I think that it is {wrong}. Is that right?")
    t.tell("{b} laughed kindly and shook {b.his} head.", "{b} thought for a long time.")
    t.quote(b, "It is hard to explain. Come, I will show you.", "No. Wait, and you will see.")
    t.paragraph()
    t.go(q, a, b)
    t.tell("There {scene}.", "That day {scene}.", scene=scene.format(a=a, b=b))
    t.tell(
        "{a} was silent for a moment, and its {look} blinked.",
        "{a} turned this over in its mind.",
        look=a.look,
    )
    t.quote(a, "Now I understand: {meaning}.", "I think that {meaning}.")
    t.quote(b, "Yes, {a}. That is it.", "Nobody could say it better.")
    t.tell(
        "{a} saved the word in its memory, right next to the name of {b}.",
        "That evening {a} wrote the new word on its list and drew a star beside it.",
    )
    t.fact("What did {a} want to know?", "{a} wanted to know what {word} is.")
    t.fact("What did {a} think at first?", "At first {a} thought that it was {wrong}.")
    t.fact("What did {a} learn?", "{a} learned that {meaning}.")
