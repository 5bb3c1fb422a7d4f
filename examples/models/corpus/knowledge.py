"""What the assistant of the chats knows: things, reasons, opposites, groups."""

# name, what it is, what more there is to say
THINGS = (
    (
        "thermometer",
        "an instrument that measures temperature",
        "A high number means hot, and a low number means cold.",
    ),
    (
        "barometer",
        "an instrument that measures the pressure of the air",
        "When it falls, rain or wind is often near.",
    ),
    (
        "moisture sensor",
        "a sensor that tells how wet the soil is",
        "It helps to water plants at the right time.",
    ),
    (
        "light sensor",
        "a sensor that tells how bright it is",
        "A lamp can use it to switch itself on in the dark.",
    ),
    (
        "pressure gauge",
        "an instrument that shows how strongly air or water pushes",
        "A very high pressure can be dangerous.",
    ),
    (
        "water gauge",
        "a sensor that shows the height of the water",
        "It warns people before a tank is empty or runs over.",
    ),
    (
        "camera",
        "a machine that makes pictures from light",
        "A robot uses a camera to see where it goes.",
    ),
    (
        "microphone",
        "a sensor that turns sound into electric signals",
        "It is the ear of a machine.",
    ),
    ("compass", "an instrument that shows where north is", "Its needle is a small magnet."),
    (
        "scale",
        "an instrument that shows how heavy something is",
        "It should be tested with a known weight.",
    ),
    ("clock", "a machine that shows the time", "Its gears or its crystal keep the beat."),
    ("ruler", "a straight tool that measures length", "Small lines on it show the centimetres."),
    ("screwdriver", "a tool that turns screws", "Its tip must fit the head of the screw."),
    ("wrench", "a tool that turns nuts and bolts", "A long handle makes it easier to turn."),
    ("hammer", "a tool that drives nails", "One should watch one's fingers."),
    ("saw", "a tool that cuts wood", "It has many sharp teeth."),
    ("drill", "a machine that makes round holes", "One should wear glasses when one uses it."),
    (
        "pair of pliers",
        "a tool that holds, bends and cuts wire",
        "It works like two strong fingers.",
    ),
    (
        "pair of tweezers",
        "a tool that holds very small things",
        "It is good for pulling out thorns.",
    ),
    ("oil can", "a small can with a thin spout for oil", "A few drops keep gears from squeaking."),
    (
        "soldering iron",
        "a hot tool that joins wires with melted metal",
        "Its tip must never be touched.",
    ),
    (
        "multimeter",
        "an instrument that measures voltage, current and resistance",
        "It helps to find faults in a circuit.",
    ),
    (
        "battery",
        "a part that stores electric energy",
        "When it is empty, it must be charged or replaced.",
    ),
    (
        "fuse",
        "a thin wire that melts when too much current flows",
        "It protects the rest of the machine.",
    ),
    ("switch", "a part that opens and closes a circuit", "When it is open, no current flows."),
    (
        "motor",
        "a machine that turns electric energy into motion",
        "Motors move the wheels and arms of robots.",
    ),
    ("gear", "a wheel with teeth", "Two gears together can change speed and force."),
    (
        "spring",
        "a part that can be pressed or stretched and comes back to its shape",
        "It stores energy for a short time.",
    ),
    ("pump", "a machine that moves water or air", "It sucks on one side and pushes on the other."),
    ("valve", "a part that lets water or air through, or stops it", "A tap is a kind of valve."),
    ("filter", "a part that holds back dust or dirt", "It should be cleaned from time to time."),
    ("magnet", "a piece of metal that pulls iron", "It has a north end and a south end."),
    ("lens", "a piece of curved glass that bends light", "It can make small things look big."),
    (
        "telescope",
        "an instrument that makes far things look near",
        "With it one can see the mountains of the moon.",
    ),
    (
        "solar panel",
        "a flat part that makes electric energy from sunlight",
        "It makes no energy at night.",
    ),
    (
        "antenna",
        "a part that sends and catches radio waves",
        "A radio needs it to hear far stations.",
    ),
    (
        "radio",
        "a machine that sends or receives sound without wires",
        "Ships use it to call for help.",
    ),
    (
        "robot",
        "a machine that can sense, decide and act",
        "It needs sensors, a computer and motors.",
    ),
    (
        "sensor",
        "a part that measures something in the world",
        "Sensors are the eyes and ears of a machine.",
    ),
    (
        "computer",
        "a machine that follows instructions very fast",
        "It works with numbers, even when it shows words or pictures.",
    ),
    ("program", "a list of instructions for a computer", "A mistake in a program is called a bug."),
    ("bug", "a mistake in a program", "To remove it, one must first find out why it happens."),
    (
        "kernel",
        "a small program that runs on many parts of a chip at once",
        "A graphics chip runs thousands of them together.",
    ),
    (
        "language model",
        "a program that guesses the next word again and again",
        "That is how I write to you.",
    ),
    (
        "rover",
        "a vehicle that explores a place and is controlled from far away",
        "Some rovers drive on other planets.",
    ),
    ("lighthouse", "a tower with a strong lamp near the sea", "It shows ships the way at night."),
    ("greenhouse", "a house of glass for plants", "It keeps the warmth of the sun inside."),
    ("volcano", "a mountain that can throw out hot rock", "The hot rock is called lava."),
    ("rainbow", "a bow of colours in the sky", "It appears when sunlight shines through rain."),
    (
        "cloud",
        "a great number of tiny drops of water in the air",
        "When the drops get heavy, it rains.",
    ),
    ("river", "water that flows over the land to a lake or the sea", "It always flows downhill."),
    ("planet", "a large round body that goes around a star", "The Earth is a planet."),
    ("star", "a huge ball of hot gas that shines", "The sun is the nearest star."),
    ("moon", "a body that goes around a planet", "Our moon needs about a month for one round."),
    ("seed", "the small beginning of a plant", "It needs water, light and time."),
    ("bee", "an insect that makes honey", "It carries pollen from flower to flower."),
    ("owl", "a bird that hunts at night", "It hears very well and flies without a sound."),
    ("hedgehog", "a small animal with many spines", "It rolls into a ball when it is afraid."),
    ("frog", "an animal that lives in water and on land", "A young frog is called a tadpole."),
    ("duck", "a bird that swims", "Its feathers keep the water out."),
    (
        "goat",
        "an animal with horns that can climb well",
        "It gives milk and eats almost everything.",
    ),
    (
        "bridge",
        "a way over water or over a valley",
        "It must carry its own weight and the weight on it.",
    ),
    ("lever", "a bar that turns around a point", "With a long lever one can lift a heavy stone."),
    ("wheel", "a round part that rolls", "It makes it easy to move heavy things."),
    ("pulley", "a wheel with a rope around it", "It helps to lift heavy loads."),
    (
        "thermostat",
        "a switch that keeps the temperature the same",
        "It turns the heater on when it is too cold.",
    ),
    (
        "wire",
        "a long thin piece of metal that carries electric current",
        "Most wires have a coat of plastic.",
    ),
    (
        "circuit",
        "a closed path for electric current",
        "When the path is open anywhere, nothing flows.",
    ),
)

WHY = (
    (
        "Why does ice float on water?",
        "Ice floats because it is lighter than the same amount of water.",
    ),
    (
        "Why is the sky blue?",
        "The sky is blue because the air scatters blue light more than red light.",
    ),
    (
        "Why do machines need oil?",
        "Oil makes the parts slide easily, so that they do not get hot and worn.",
    ),
    ("Why do plants need light?", "Plants use light to make their food from air and water."),
    (
        "Why does a fuse blow?",
        "A fuse blows when too much current flows. It breaks first, so that nothing else burns.",
    ),
    ("Why do robots need sensors?", "Without sensors a robot would not know what is around it."),
    ("Why do leaves fall in autumn?", "Trees drop their leaves to save water in the cold season."),
    ("Why do we measure twice?", "The second time shows whether the first number was right."),
    ("Why does metal rust?", "Iron rusts when it meets water and air for a long time."),
    ("Why do birds sing?", "Birds sing to call a partner and to say that a place is theirs."),
    ("Why does it rain?", "It rains when the drops in a cloud get too heavy to stay in the air."),
    ("Why is it dark at night?", "At night our side of the Earth is turned away from the sun."),
    (
        "Why does a battery get empty?",
        "A battery gets empty because its stored energy has been used.",
    ),
    (
        "Why should I unplug a machine before I open it?",
        "Electric current can hurt you. Without the plug no current can flow.",
    ),
    (
        "Why is a small model useful?",
        "A small model needs little memory and little power, so it can run on a small device.",
    ),
    (
        "Why do wheels have to be round?",
        "Only a round wheel keeps its middle at the same height while it rolls.",
    ),
    ("Why do cats purr?", "Cats often purr when they feel safe and well."),
    (
        "Why does a kite need a tail?",
        "The tail keeps the kite in balance, so that it does not spin.",
    ),
    ("Why does warm air rise?", "Warm air rises because it is lighter than cold air."),
    (
        "How do magnets work?",
        "Tiny magnets inside the metal point the same way, and together they pull iron.",
    ),
    ("How does a bee find its way?", "A bee uses the sun and remembers the places it has seen."),
    (
        "How can I find north without a compass?",
        (
            "At noon the sun stands in the south, so north is behind you when you face it. That is"
            " true in the northern half of the world."
        ),
    ),
    (
        "How do I water a plant?",
        "Give it a little water when the soil feels dry, and none when the soil is still wet.",
    ),
    (
        "How do I measure a table?",
        "Put the end of the measuring tape at one edge and read the number at the other edge.",
    ),
    (
        "How do I find a lost thing?",
        (
            "Think of where you saw it last. Then go back your way, place by place, and look low as"
            " well as high."
        ),
    ),
    (
        "What should I do when I am angry?",
        "Take three slow breaths. Then say what is wrong in quiet words.",
    ),
    (
        "What should I do when two sensors disagree?",
        "Look where each of them stands, and ask a third one.",
    ),
    (
        "What should I do in a power cut?",
        "Stay calm, find a lamp, and do not touch loose cables. Then check the fuse.",
    ),
    (
        "What can I do against the dark?",
        "Switch on a small light, and remember that the dark is the same room without light.",
    ),
    (
        "How can I help a shy friend?",
        "Sit down beside your friend, be patient, and practise together where nobody watches.",
    ),
)

OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("light", "dark"),
    ("fast", "slow"),
    ("loud", "quiet"),
    ("high", "low"),
    ("wet", "dry"),
    ("open", "closed"),
    ("full", "empty"),
    ("hard", "soft"),
    ("old", "new"),
    ("early", "late"),
    ("happy", "sad"),
    ("long", "short"),
    ("left", "right"),
    ("strong", "weak"),
    ("near", "far"),
    ("clean", "dirty"),
    ("heavy", "light"),
    ("thick", "thin"),
)

GROUPS = (
    ("tools", ("a hammer", "a saw", "a screwdriver", "a wrench", "a drill", "a file")),
    (
        "sensors",
        ("a thermometer", "a light sensor", "a microphone", "a camera", "a pressure gauge"),
    ),
    (
        "animals",
        ("a cat", "a dog", "an owl", "a goat", "a duck", "a fox", "a hedgehog", "a donkey"),
    ),
    ("colours", ("red", "blue", "green", "yellow", "white", "orange", "purple", "brown")),
    ("fruits", ("an apple", "a pear", "a lemon", "a strawberry", "a plum", "a cherry")),
    ("parts of a robot", ("a motor", "a battery", "a camera", "a wheel", "an arm", "an antenna")),
    ("things in the kitchen", ("a spoon", "a pot", "a cup", "a plate", "a stove", "a table")),
    ("planets", ("Mars", "Venus", "Jupiter", "Saturn", "Mercury", "the Earth")),
)

NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)
