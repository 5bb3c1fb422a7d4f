"""The story engine: who is where, who holds what, and how that is put into sentences.

A plot (see plots.py) drives a Teller. The Teller draws the cast and the places, keeps the state and
offers many ways to say the same thing, so that a model can learn the story, not one wording of it.
"""

import random
import re
from typing import Dict, List, Optional, Sequence, Tuple

from . import world
from .world import Character, Place


def capitalise(text: str) -> str:
    """Upper-cases the first letter of the text and of each sentence inside it.

    A closing quote after the full stop is left alone: '"Why?" asked Tom.' stays as it is.
    """
    text = re.sub(r'^("?)([a-z])', lambda m: m.group(1) + m.group(2).upper(), text)
    return re.sub(
        r"(?<!Mr)(?<!Ms)(?<!Mrs)([.!?] )([a-z])", lambda m: m.group(1) + m.group(2).upper(), text
    )


def with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


class Teller:
    def __init__(self, rng: random.Random, settings: Optional[Sequence[str]] = None):
        self.rng = rng
        self.paragraphs: List[List[str]] = [[]]
        self.used_names: set = set()
        self.where: Dict[str, Place] = {}
        self.env: Dict[str, object] = {}
        self.topics: List[str] = []  # what one could have asked a story about
        self.facts: List[Tuple[str, str]] = []  # questions that the story answers
        self.setting = rng.choice(sorted(settings or world.SETTINGS))
        self.places = list(world.SETTINGS[self.setting])
        rng.shuffle(self.places)

    # --- words -------------------------------------------------------------------------------

    def pick(self, items: Sequence):
        return self.rng.choice(items)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def render(self, template: str, **more) -> str:
        return capitalise(template.format(**{**self.env, **more}))

    def tell(self, *variants: str, **more) -> None:
        sentence = self.render(self.pick(variants), **more)
        self.paragraphs[-1].append(self._with_pronoun(sentence))

    def _with_pronoun(self, sentence: str) -> str:
        """Often turns 'Mia ...' into 'She ...', where the sentence before was about Mia alone."""
        if not self.paragraphs[-1]:
            return sentence
        named = [
            x
            for x in self.env.values()
            if isinstance(x, Character) and x.name in self.paragraphs[-1][-1]
        ]
        if len(named) == 1 and named[0].role in ("child", "adult") and self.chance(0.6):
            who = named[0]
            if sentence.startswith(f"{who} ") and not sentence.startswith(f"{who} and "):
                return who.he.capitalize() + sentence[len(who.name) :]
        return sentence

    def maybe(self, probability: float, *variants: str, **more) -> None:
        if self.chance(probability):
            self.tell(*variants, **more)

    def paragraph(self) -> None:
        if self.paragraphs[-1]:
            self.paragraphs.append([])

    def quote(self, who: Character, *variants: str, **more) -> None:
        """Lets `who` say one of the variants, with the tag before, after or in front."""
        said = self.render(self.pick(variants), **more)
        question, loud = said.endswith("?"), said.endswith("!")
        if question:
            verb = self.pick(("asked", "asked", "wondered"))
        elif loud:
            verb = self.pick(("called", "cried", "said"))
        elif who.role == "robot":
            verb = self.pick(("said", "said", "beeped"))
        else:
            verb = "said"
        if self.chance(0.35):
            lead = f"{who} {verb}, " if not question else f"{who} asked, "
            self.paragraphs[-1].append(f'{lead}"{said}"')
        else:
            body = said if question or loud else said[:-1] + ","
            tag = f"{verb} {who}" if self.chance(0.5) else f"{who} {verb}"
            self.paragraphs[-1].append(f'"{body}" {tag}.')

    def text(self) -> str:
        return "\n\n".join(" ".join(p) for p in self.paragraphs if p)

    # --- cast --------------------------------------------------------------------------------

    def _fresh(self, names: Sequence[str]) -> str:
        name = self.pick([n for n in names if n not in self.used_names])
        self.used_names.add(name)
        return name

    def _takes_she(self, unlike: Optional[Character]) -> bool:
        if unlike is not None and unlike.he in ("she", "he"):
            return unlike.he == "he"
        return self.chance(0.5)

    def child(self, unlike: Optional[Character] = None) -> Character:
        """A child; with `unlike`, one for whom another pronoun is used than for that character."""
        if self._takes_she(unlike):
            return Character(self._fresh(world.GIRLS), "girl", "child", "she", "her", "her")
        return Character(self._fresh(world.BOYS), "boy", "child", "he", "him", "his")

    def adult(self, unlike: Optional[Character] = None) -> Character:
        if self._takes_she(unlike):
            return Character(self._fresh(world.WOMEN), "woman", "adult", "she", "her", "her")
        return Character(self._fresh(world.MEN), "man", "adult", "he", "him", "his")

    def robot(self) -> Character:
        return Character(
            self._fresh(world.ROBOTS),
            self.pick(world.ROBOT_KINDS),
            "robot",
            "it",
            "it",
            "its",
            look=self.pick(world.ROBOT_LOOKS),
        )

    def animal(self) -> Character:
        kind, names, sound = self.pick(world.ANIMALS)
        return Character(self._fresh(names), kind, "animal", "it", "it", "its", sound=sound)

    def pair(self) -> Tuple[Character, Character]:
        """A hero and a friend of another kind, so that 'she' or 'it' stays clear."""
        makers = self.pick(
            (
                (self.child, self.robot),
                (self.robot, self.child),
                (self.robot, self.adult),
                (self.adult, self.robot),
                (self.child, None),
            )
        )
        a = makers[0]()
        return a, makers[1]() if makers[1] else self.adult(unlike=a)

    def trait(self, who: Character) -> str:
        return self.pick(world.TRAITS[who.role])

    def cast(self, **who) -> None:
        self.env.update(who)

    def introduce(self, who: Character, place: Optional[Place] = None) -> None:
        trait = self.trait(who)
        more = dict(
            x=who,
            trait=with_article(trait),
            bare=trait,
            kind=who.kind,
            some_kind=with_article(who.kind),
            look=who.look,
            some_look=with_article(who.look) if who.look else "",
            p=place or self.places[0],
        )
        if who.role == "child":
            self.tell(
                "{x} was {trait} {kind} who liked to spend the day {p.at}.",
                "There was once {trait} {kind} named {x}.",
                "Once there was {trait} {kind} called {x}.",
                "{x} was {trait} {kind} with many questions.",
                **more,
            )
        elif who.role == "adult":
            self.tell(
                "{x} was {trait} {kind} who knew a lot about machines.",
                "There was once {trait} {kind} whom everyone called {x}.",
                "Everyone knew {x}, {trait} {kind} with a big tool box.",
                **more,
            )
        elif who.role == "robot":
            self.tell(
                "{x} was {trait} {kind} with {some_look}.",
                "There was once {trait} {kind} named {x}. It had {some_look}.",
                "Once there was {trait} {kind} called {x}. Its {look} was the first thing "
                "that people noticed.",
                "{x} was {some_kind}. It was {bare}, and it was proud of its {look}.",
                **more,
            )
        else:
            self.tell(
                "{x} was {trait} {kind} that lived near {p}.",
                "There was once {trait} {kind} named {x}.",
                "{x} was {trait} {kind}, and everybody liked it.",
                **more,
            )

    def befriend(self, a: Character, b: Character) -> None:
        """Brings the second one in, tied to the first."""
        more = dict(x=a, y=b, kind=with_article(b.kind), trait=self.trait(b))
        if b.role == "robot":
            self.tell(
                "{x.his} best friend was {y}, {kind}.",
                "{x} worked with {kind} named {y}.",
                "{x} never went anywhere without {y}, {kind} with {some_look}.",
                "{x} had a friend, {kind} called {y}.",
                some_look=with_article(b.look),
                **more,
            )
        elif b.role == "adult":
            self.tell(
                "{x} often helped {y}, who was very {trait}.",
                "{x} learned many things from {y}.",
                "{y} was {x.his} teacher and friend.",
                **more,
            )
        elif b.role == "child":
            self.tell(
                "{x.his} best friend was {kind} named {y}.",
                "Every day {kind} called {y} came to visit {x}.",
                "{x} liked to work with {y}, a {trait} {bare}.",
                bare=b.kind,
                **more,
            )
        else:
            self.tell(
                "{x} had {kind} named {y}.",
                "{x.his} best friend was {kind} named {y}.",
                "{kind} called {y} followed {x} everywhere.",
                **more,
            )

    # --- places and things -------------------------------------------------------------------

    def start(self, place: Place, *who: Character) -> None:
        for x in who:
            self.where[x.name] = place

    def weather(self) -> None:
        self.tell(self.pick(world.WEATHER) + ".")

    def scene(self, place: Place, *who: Character) -> None:
        """One morning they were at a place, which is described now and then."""
        self.start(place, *who)
        names = " and ".join(map(str, who))
        was = "was" if len(who) == 1 else "were"
        self.tell(
            "One morning {names} {was} {p.at}.",
            "One day {names} {was} {p.at}.",
            "One afternoon {names} {was} {p.at}.",
            "On a Monday {names} {was} {p.at}.",
            "That day {names} {was} {p.at}.",
            names=names,
            was=was,
            p=place,
        )
        self.maybe(0.35, "{detail}", detail=place.detail)

    def go(self, place: Place, *who: Character) -> None:
        """Moves people; says it in one of many ways."""
        self.start(place, *who)
        names = " and ".join(map(str, who))
        variants = [
            "{names} went to {p}.",
            "{names} hurried to {p}.",
            "So {names} walked to {p}.",
            "Then {names} went over to {p}.",
            "{names} made {their} way to {p}.",
        ]
        if len(who) == 1 and who[0].role == "robot":
            variants += [
                "{names} rolled to {p}.",
                "{names} rolled off to {p} as fast as its wheels could go.",
            ]
        self.tell(*variants, names=names, their=who[0].his if len(who) == 1 else "their", p=place)
        self.maybe(0.3, "{detail}", detail=place.detail)

    def take(self, who: Character, thing: str) -> None:
        who.holding.append(thing)
        self.tell(
            "{x} picked up {thing}.",
            "{x} took hold of {thing}.",
            "Carefully {x} took {thing}.",
            "{x} reached out and took {thing}.",
            x=who,
            thing=thing,
        )

    def give(self, giver: Character, taker: Character, thing: str) -> None:
        giver.holding.remove(thing)
        taker.holding.append(thing)
        self.tell(
            "{x} gave {thing} to {y}.",
            "{x} handed {thing} to {y}.",
            "{x} laid {thing} into {y}'s " + ("gripper." if taker.role == "robot" else "hands."),
            x=giver,
            y=taker,
            thing=thing,
        )

    # --- feelings ----------------------------------------------------------------------------

    def happy(self, who: Character) -> None:
        if who.role == "robot":
            self.tell(
                "{x}'s {look} " + self.pick(("shone with joy.", "seemed to smile.")),
                "{x} gave a happy beep.",
                "{x} spun around once with joy.",
                x=who,
                look=who.look,
            )
        elif who.role == "animal":
            self.tell(
                "{x} {sound} happily." if who.sound[-1] != "p" else "{x} {sound} of joy.",
                "{x} was happy again.",
                x=who,
                sound=who.sound,
            )
        else:
            self.tell(
                "{x} smiled.",
                "{x} laughed out loud.",
                "{x} clapped {x.his} hands.",
                "{x} was very happy.",
                x=who,
            )

    def sad(self, who: Character) -> None:
        if who.role == "robot":
            self.tell(
                "{x} let its arms hang down.",
                "{x} gave a low, sad beep.",
                "{x}'s motor went very quiet.",
                x=who,
            )
        else:
            self.tell(
                "{x} was sad.",
                (
                    "{x} felt a lump in {x.his} throat."
                    if who.role != "animal"
                    else "{x} hung its head."
                ),
                "{x} looked at the ground.",
                x=who,
            )

    def thank(self, who: Character, whom: Character) -> None:
        self.quote(
            who,
            "Thank you, {y}!",
            "Thank you, {y}. You are a real friend.",
            "I could not have done it without you, {y}.",
            "Well done, {y}!",
            y=whom,
        )

    def moral(self, text: str, who: Character) -> None:
        self.tell(
            "From that day on {x} knew that {text}.",
            "{x} had learned that {text}.",
            "And {x} never forgot that {text}.",
            "That evening {x} wrote in a notebook: {text}.",
            x=who,
            text=text,
        )

    def close(self, *who: Character) -> None:
        names = " and ".join(map(str, who))
        self.maybe(
            0.6,
            "It had been a good day.",
            "Then it was time to go home.",
            (
                "That night {names} slept very well."
                if all(x.role != "robot" for x in who)
                else "That night everything was quiet and well."
            ),
            (
                "{names} sat together until the stars came out."
                if len(who) > 1
                else "{names} watched the stars come out."
            ),
            names=names,
        )

    # --- questions that the story answers ----------------------------------------------------

    def fact(self, question: str, answer: str, **more) -> None:
        self.facts.append((self.render(question, **more), self.render(answer, **more)))
