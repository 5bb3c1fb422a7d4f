"""The world that the texts are about: people, robots, animals, places, tools, machines, faults.

Everything is plain data. A story picks from these tables and then keeps its choices, so that a
lamp that is broken in the first sentence is the same lamp that shines in the last one.
"""

from dataclasses import dataclass, field
from typing import List, Tuple


@dataclass
class Character:
    """Someone in a story. Used in templates as {a}, {a.he}, {a.his}, {a.kind} and so on."""

    name: str
    kind: str  # 'girl', 'boy', 'robot', 'cat', ...
    role: str  # 'child', 'adult', 'robot' or 'animal'
    he: str
    him: str
    his: str
    look: str = ""  # for robots: one part that stories come back to, such as 'blue light'
    sound: str = ""  # for animals: what it does when it wants to say something
    holding: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Place:
    """Somewhere to be. `at` includes the preposition, `spots` are where things can lie."""

    name: str
    at: str
    detail: str
    spots: Tuple[str, ...]

    def __str__(self) -> str:
        return self.name


GIRLS = (
    "Mia",
    "Lena",
    "Anna",
    "Nora",
    "Ella",
    "Zoe",
    "Ida",
    "Clara",
    "Ruth",
    "Maya",
    "Sofia",
    "Lucy",
)
BOYS = ("Tom", "Ben", "Leo", "Sam", "Noah", "Max", "Emil", "Finn", "Jonas", "Omar", "Paul", "Hugo")
WOMEN = ("Grandma Rose", "Aunt Vera", "Mrs. Hill", "Ms. Park", "Doctor Lind", "Captain June")
MEN = ("Grandpa Otto", "Uncle Karl", "Mr. Green", "Mr. Stone", "Captain Reed", "Old Peter")
ROBOTS = (
    "Bolt",
    "Pixel",
    "Beep",
    "Rusty",
    "Gizmo",
    "Nut",
    "Dot",
    "Spark",
    "Echo",
    "Tinker",
    "Cog",
    "Pip",
)

ROBOT_KINDS = (
    "robot",
    "small robot",
    "round robot",
    "helper robot",
    "garden robot",
    "cleaning robot",
    "delivery robot",
    "old robot",
    "tall robot",
    "repair robot",
)
ROBOT_LOOKS = (
    "blue light",
    "green light",
    "yellow lamp",
    "long arm",
    "silver antenna",
    "red button",
    "round camera",
    "little bell",
    "orange wheel",
    "copper hand",
)
# kind, names, sound
ANIMALS = (
    ("cat", ("Mimi", "Tiger", "Shadow"), "meowed"),
    ("dog", ("Rex", "Biscuit", "Luna"), "barked"),
    ("rabbit", ("Hopper", "Clover", "Button"), "twitched its nose"),
    ("duck", ("Puddle", "Daisy", "Waddle"), "quacked"),
    ("goat", ("Billy", "Pepper", "Hazel"), "bleated"),
    ("owl", ("Hoot", "Oscar", "Moon"), "hooted"),
    ("fox", ("Ember", "Copper", "Fern"), "gave a small yip"),
    ("hedgehog", ("Spike", "Thistle", "Bramble"), "sniffed"),
    ("donkey", ("Barney", "Dusty", "Molly"), "brayed"),
    ("crow", ("Jet", "Inky", "Raven"), "cawed"),
)
TRAITS = {
    "child": ("curious", "patient", "careful", "cheerful", "quiet", "brave", "clever", "kind"),
    "adult": ("kind", "patient", "wise", "busy", "friendly", "calm"),
    "robot": ("careful", "cheerful", "polite", "curious", "patient", "tidy", "helpful", "shy"),
    "animal": ("curious", "hungry", "gentle", "lazy", "playful", "clever", "shy", "brave"),
}


def _place(name: str, at: str, detail: str, *spots: str) -> Place:
    return Place(name, f"{at} {name}", detail, spots)


# Each setting is a handful of places that one can walk between.
SETTINGS = {
    "home": (
        _place(
            "the workshop",
            "in",
            "It smelled of oil and fresh wood.",
            "under the workbench",
            "behind the tool box",
            "in the bottom drawer",
            "on the top shelf",
        ),
        _place(
            "the kitchen",
            "in",
            "A pot of soup was warm on the stove.",
            "under the table",
            "beside the stove",
            "in the bread box",
            "behind the flour jar",
        ),
        _place(
            "the garden",
            "in",
            "Bees hummed over the flowers.",
            "under the apple tree",
            "beside the watering can",
            "behind the rose bush",
            "next to the fence",
        ),
        _place(
            "the attic",
            "in",
            "Dust danced in a thin beam of sunlight.",
            "inside an old trunk",
            "behind a stack of boxes",
            "under a blanket",
            "on a wooden beam",
        ),
        _place(
            "the cellar",
            "in",
            "It was cool and dark and quiet.",
            "behind the potato sacks",
            "on the stone steps",
            "under the ladder",
            "next to the water pipe",
        ),
        _place(
            "the shed",
            "in",
            "Rakes and spades stood along the wall.",
            "inside a flower pot",
            "behind the wheelbarrow",
            "under a bucket",
            "on a rusty hook",
        ),
    ),
    "farm": (
        _place(
            "the barn",
            "in",
            "The air was full of the sweet smell of hay.",
            "under the hay",
            "behind the milk cans",
            "on a wooden beam",
            "next to the ladder",
        ),
        _place(
            "the henhouse",
            "in",
            "The hens clucked softly.",
            "inside a nest",
            "under the perch",
            "behind the grain bin",
            "beside the little door",
        ),
        _place(
            "the orchard",
            "in",
            "The branches were heavy with pears.",
            "under a pear tree",
            "inside a basket",
            "in the long grass",
            "next to the stone wall",
        ),
        _place(
            "the field",
            "in",
            "The wheat moved like waves in the wind.",
            "beside the scarecrow",
            "in a furrow",
            "under a flat stone",
            "next to the gate",
        ),
        _place(
            "the farmhouse",
            "in",
            "A clock ticked in the hall.",
            "on the window sill",
            "under the stairs",
            "behind the door",
            "inside the cupboard",
        ),
        _place(
            "the pond",
            "at",
            "Frogs sat on the green leaves.",
            "between the reeds",
            "under the small bridge",
            "beside the old boat",
            "on a flat rock",
        ),
    ),
    "harbour": (
        _place(
            "the lighthouse",
            "in",
            "A long stair went round and round to the top.",
            "on the bottom step",
            "behind the great lamp",
            "under the stairs",
            "in the map chest",
        ),
        _place(
            "the boathouse",
            "in",
            "Nets and oars hung from the roof.",
            "under a net",
            "inside the red boat",
            "behind the oars",
            "on a coil of rope",
        ),
        _place(
            "the pier",
            "on",
            "The waves slapped against the wooden posts.",
            "beside a barrel",
            "under a bench",
            "behind a crate",
            "next to the last post",
        ),
        _place(
            "the beach",
            "on",
            "White shells lay in the sand.",
            "under a piece of driftwood",
            "between two rocks",
            "beside a sand castle",
            "in a tide pool",
        ),
        _place(
            "the fish market",
            "at",
            "Gulls waited on the roof for scraps.",
            "under a table",
            "behind the ice box",
            "inside an empty crate",
            "next to the scale",
        ),
        _place(
            "the harbour office",
            "in",
            "Maps covered every wall.",
            "on the desk",
            "behind the radio",
            "under a pile of maps",
            "in the top drawer",
        ),
    ),
    "mountain": (
        _place(
            "the weather station",
            "in",
            "Small dials glowed on the wall.",
            "under the desk",
            "behind the battery box",
            "on the instrument shelf",
            "beside the stove",
        ),
        _place(
            "the observatory",
            "in",
            "The big telescope pointed at the sky.",
            "under the telescope",
            "behind the star map",
            "on the round bench",
            "beside the steps",
        ),
        _place(
            "the mountain hut",
            "in",
            "A small fire crackled in the stove.",
            "under the bunk bed",
            "behind the firewood",
            "on the coat hook",
            "inside a boot",
        ),
        _place(
            "the ridge",
            "on",
            "One could see three valleys from there.",
            "behind a pile of stones",
            "under a bent pine",
            "beside the path",
            "in a crack of the rock",
        ),
        _place(
            "the tunnel",
            "in",
            "Every step made an echo.",
            "beside the rails",
            "under the lamp",
            "behind a wooden cart",
            "in a dry corner",
        ),
        _place(
            "the spring",
            "at",
            "Cold clear water ran over the moss.",
            "under the fern",
            "between the wet stones",
            "beside the wooden cup",
            "behind the mossy log",
        ),
    ),
    "town": (
        _place(
            "the library",
            "in",
            "The shelves reached up to the ceiling.",
            "between two books",
            "under the reading chair",
            "behind the globe",
            "on the return cart",
        ),
        _place(
            "the bakery",
            "in",
            "It smelled of warm bread.",
            "behind the oven",
            "under a flour sack",
            "on the cooling rack",
            "beside the scale",
        ),
        _place(
            "the market square",
            "on",
            "People talked and laughed between the stalls.",
            "under the fruit stall",
            "beside the fountain",
            "behind the clock tower",
            "on a bench",
        ),
        _place(
            "the train station",
            "at",
            "A green train waited at the platform.",
            "under a bench",
            "behind the ticket desk",
            "beside the clock",
            "in a suitcase",
        ),
        _place(
            "the school",
            "in",
            "Paper stars hung in the windows.",
            "under a desk",
            "behind the blackboard",
            "in the paint box",
            "on the piano",
        ),
        _place(
            "the playground",
            "on",
            "The swing moved slowly in the wind.",
            "under the slide",
            "in the sand box",
            "beside the swing",
            "behind the hedge",
        ),
    ),
    "moon base": (
        _place(
            "the main dome",
            "in",
            "The Earth hung blue and bright above the glass.",
            "under the round table",
            "behind the air filter",
            "beside the window",
            "on a locker",
        ),
        _place(
            "the rover bay",
            "in",
            "Two rovers stood side by side.",
            "under the small rover",
            "behind the spare wheels",
            "on the charging dock",
            "inside a tool crate",
        ),
        _place(
            "the greenhouse dome",
            "in",
            "Rows of lettuce grew under pink lamps.",
            "between the lettuce rows",
            "behind the water tank",
            "under a seed tray",
            "beside the pump",
        ),
        _place(
            "the control room",
            "in",
            "A hundred little lights blinked.",
            "under the control desk",
            "behind the big screen",
            "on the chair",
            "beside the keyboard",
        ),
        _place(
            "the crater",
            "in",
            "The grey dust was as fine as flour.",
            "beside a round rock",
            "under the solar panel",
            "behind the flag",
            "in a deep wheel track",
        ),
        _place(
            "the sleeping pod",
            "in",
            "It was small and quiet and warm.",
            "under the pillow",
            "inside a sock",
            "behind the curtain",
            "on the shelf",
        ),
    ),
}

OUTDOORS = (
    "the garden",
    "the orchard",
    "the field",
    "the pond",
    "the pier",
    "the beach",
    "the ridge",
    "the spring",
    "the market square",
    "the playground",
)

SMALL_THINGS = (
    "key",
    "red marble",
    "compass",
    "silver whistle",
    "notebook",
    "pocket watch",
    "magnet",
    "paint brush",
    "woolen hat",
    "lens",
    "blue button",
    "golden screw",
    "map",
    "ticket",
    "bell",
    "toy boat",
    "measuring tape",
    "pencil",
    "letter",
    "glove",
)
SNACKS = ("apple", "pear", "carrot", "cookie", "slice of bread", "piece of cheese", "bun")
COLOURS = ("red", "blue", "green", "yellow", "white", "orange", "purple", "brown")
WEATHER = (
    "The sun was shining",
    "It was a windy morning",
    "A light rain was falling",
    "It was a cold day",
    "It was a warm afternoon",
    "Fog lay over everything",
    "Snow was falling softly",
    "It was a bright morning",
    "Grey clouds covered the sky",
    "It was a quiet evening",
)
# Things to build: name, three parts, the first weakness, the remedy, how it is tried out.
PROJECTS = (
    (
        "birdhouse",
        ("four boards", "a handful of nails", "a small hinge"),
        "the roof let the rain in",
        "added a strip of tin on the top",
        "A small bird looked inside and moved in",
        "the roof was too thin",
    ),
    (
        "kite",
        ("two thin sticks", "a sheet of paper", "a long string"),
        "it spun around and fell down",
        "tied a longer tail to the end",
        "It climbed higher and higher into the sky",
        "it had no balance",
    ),
    (
        "toy boat",
        ("a block of wood", "a piece of cloth", "a straight stick"),
        "it tipped over to one side",
        "fixed a flat stone under the bottom",
        "It sailed straight across the water",
        "it was too light at the bottom",
    ),
    (
        "cart",
        ("four wheels", "two iron rods", "a wooden box"),
        "one wheel wobbled and came off",
        "put a pin through the end of the rod",
        "It rolled down the path without a wobble",
        "nothing held the wheel in place",
    ),
    (
        "bridge",
        ("three long planks", "a strong rope", "a bag of nails"),
        "it bent in the middle",
        "put a post under the middle",
        "It carried even the heaviest of them",
        "the planks had no support",
    ),
    (
        "wind chime",
        ("six metal pipes", "a wooden ring", "a ball of thread"),
        "it made no sound",
        "moved the pipes closer together",
        "It sang softly in every breeze",
        "the pipes hung too far apart",
    ),
    (
        "lantern",
        ("a glass jar", "a bit of wire", "a small candle"),
        "the flame went out at once",
        "made three small holes in the lid",
        "It burned with a steady golden light",
        "the flame had no air",
    ),
    (
        "scarecrow",
        ("an old coat", "two long poles", "a sack of straw"),
        "the crows sat down on its hat",
        "hung shiny spoons on its arms",
        "The crows flew away and did not come back",
        "it did not move at all",
    ),
    (
        "water wheel",
        ("eight flat boards", "a round log", "two forked branches"),
        "it turned only half way and stopped",
        "made all the boards the same length",
        "It turned and splashed all day long",
        "one side was heavier than the other",
    ),
    (
        "rain gauge",
        ("a tall glass", "a ruler", "a funnel"),
        "the wind blew it over",
        "set it between three bricks",
        "After the next rain it showed exactly four centimetres",
        "it stood too loosely on the ground",
    ),
)
