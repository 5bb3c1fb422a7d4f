"""The part for conversations with tools: how the template writes tools, calls and their results, and the
conversations that prove it.
"""

# Conversations with tools, a letter a message: user, answer (of the assistant), calls, result.
# Each kind of message behind each other that it may follow, in the order of the plan's table.
TURNS = ("u", "uau", "ua", "uc", "ucra", "ucrc", "ucr", "ucrr")
# What may come behind a message: nothing, results, an answer, a user, a user and an answer.
FOLLOWERS = {"u": ("", None, "a", None, "au"), "a": ("", None, None, "u", "ua"),
             "c": (None, "r", "ra", None, "rau"), "r": ("", "r", "a", None, "au")}
NOTATIONS = {
    "hermes": r'<tool_call>\s*\{"name": "Zqn1qZ", "arguments": Zqa1qZ\}\s*</tool_call>',
    "llama3": r'\{"name": "Zqn1qZ", "parameters": Zqa1qZ\}',
    "mistral": r'\[TOOL_CALLS\]\s*\[\{"name": "Zqn1qZ", "arguments": Zqa1qZ(, "id": "Zqi0001qZ")?\}\]',
}
ROLES = {"u": "user", "a": "assistant", "c": "assistant", "r": "tool"}
CALL_PARTS = {"n": "call_name", "a": "call_arguments", "i": "call_id"}


def function_call(name, arguments, call_id):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def members(function):
    return ", ".join(f'"{key}": "{value}"' if isinstance(value, str) else
                     f'"{key}": {json.dumps(value, ensure_ascii=False)}'
                     for key, value in function.items() if key != "return")


def tool_writings(tools):
    """The ways in which templates write tools, with what each makes of them."""
    for indent in (None, 0, 1, 2, 3, 4, 8):
        for compact in (False, True) if indent is None else (False,):
            style = {"indent": -1 if indent is None else indent, "compact": compact}
            separators = (",", ":") if compact else None

            def dump(value):
                return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)

            yield dict(style, tool_text="list"), [dump(tools)]
            yield dict(style, tool_text="tool"), [dump(tool) for tool in tools]
            yield dict(style, tool_text="function"), [dump(tool["function"]) for tool in tools]
    yield ({"indent": -1, "compact": False, "tool_text": "members"},
           [members(tool["function"]) for tool in tools])


class ToolReducer:
    """The tables for conversations with tools. Marks: the message's number, with a letter in front for what
    is not its text: n, a, i for a call's name, arguments and id (N, A, I: of a second call), t for the id in a
    result."""

    TOOLS = [{"type": "function",
              "function": {"name": marked(f"f{i}"), "description": 'A "description"\n', "return": {"type": "null"},
                           "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}}
             for i in range(2)]

    def __init__(self, reducer):
        self.reducer = reducer
        self.template = reducer.template
        self.call = None
        self.between_tools = None
        self.writing = None
        self.system, self.thinking, self.tools = None, "default", self.TOOLS

    def message(self, kind, i, text, calls, escaped_names=False):
        message = {"role": ROLES[kind], "content": text}
        if kind == "c":
            quote = '"' if escaped_names else ""
            message["tool_calls"] = [function_call(quote + marked(f"{n}{i}"), {marked(f"{a}{i}"): 0},
                                                   marked(f"{d}{i:04}"))
                                     for n, a, d in ("nai", "NAI")[:calls]]
        if kind == "r":
            message["tool_call_id"] = marked(f"t{i:04}")
        return message

    def render(self, kinds, changed=None, calls=1, generation=None, **options):
        """`changed`: (message, text). What is written as JSON becomes a mark as well."""
        texts = [marked(str(i)) for i in range(len(kinds))]
        if changed:
            texts[changed[0]] = changed[1]
        messages = [self.message(kind, i, texts[i], calls, **options) for i, kind in enumerate(kinds)]
        if generation is None:
            generation = kinds[-1] not in "ac"
        render = self.template.render(self.system, messages, self.thinking, generation, True, self.tools)
        render = re.sub(r'\{"(Zq[aA]\d+qZ)": 0\}', r"\1", render)
        if self.tools:
            for i, text in enumerate(self.writing[1]):
                render = render.replace(text, marked(f"tool{i}"))
        return render

    def find_writing(self):
        self.writing = ({}, [])
        render = self.render("u")
        for writing in tool_writings(self.TOOLS):
            if all(render.count(text) == 1 for text in writing[1]):
                self.writing = writing
                break
        else:
            raise Refused("the template does not write tools, or in a way that has no name")

    def cut(self, render):
        """The render as (message or -1, part) in order."""
        parts = []
        for i, piece in enumerate(re.split("Zq(.*?)qZ", render)):
            if i % 2 == 0:
                parts += [(-1, part) for part in literals(piece)]
            elif piece == "s":
                parts.append((-1, slot("system", *self.reducer.system_strip)))
            elif piece.startswith("tool"):
                self.add_tool(int(piece[4:]), parts)
            else:
                letter, owner = re.fullmatch("([a-zA-Z]?)([0-9]+)", piece).groups()
                kind = "reasoning" if letter == "r" else "call_id" if letter == "t" else \
                    CALL_PARTS.get(letter.lower(), "content")
                parts.append((int(owner), dict(slot(kind), call="NAI".find(letter) >= 0 if letter else None)))
        return parts

    def add_tool(self, index, parts):
        if index == 0:
            parts.append((-1, slot("tools")))
            return
        between = parts.pop()[1] if parts[-1][1]["kind"] == "literal" else {"text": ""}
        if parts[-1][1]["kind"] != "tools" or self.between_tools not in (None, between["text"]):
            raise Refused("tools are written in different ways")
        self.between_tools = between["text"]

    def parts_of(self, render, index):
        """What stands between the last slot of the message before and the last one of this message."""
        parts = self.cut(render)
        owners = [owner for owner, _ in parts]
        seen = [owner for owner in owners if owner >= 0]
        if seen != sorted(seen) or index not in seen or index > 0 and index - 1 not in seen:
            raise Refused("messages come out of order or not at all")
        begin = len(owners) - owners[::-1].index(index - 1) if index > 0 else 0
        end = len(owners) - owners[::-1].index(index)
        return [part for _, part in parts[begin:end]]

    def without_calls(self, parts):
        """The calls in one part, which all messages must share."""
        kinds = [part["kind"] for part in parts]
        if "call_name" not in kinds:
            raise Refused("the template does not write calls")
        begin = next(i for i, kind in enumerate(kinds) if kind.startswith("call_"))
        call = [dict(part) for part in parts[begin:]]
        for part in call:
            part.pop("call", None)
            part["escape"] = self.escaped_names and part["kind"] == "call_name"
        if self.call is None:
            self.call = call
        if call != self.call or "call_arguments" not in kinds or "content" in kinds[begin:]:
            raise Refused("calls are written in different ways, or a text behind them")
        return parts[:begin] + [slot("calls")]

    def find_calls(self):
        self.call, self.escaped_names = None, False
        render = self.render("uc", generation=False)
        name = marked("n1")
        self.escaped_names = '\\"' + name in self.render("uc", generation=False, escaped_names=True)
        self.without_calls(self.parts_of(render, 1))
        notation = [n for n, pattern in NOTATIONS.items() if re.search(pattern, render)]
        if not notation:
            raise Refused("calls are written in a way that has no name")
        self.notation = notation[0]
        try:
            two = [part for _, part in self.cut(self.render("uc", calls=2, generation=False))]
        except Refused:
            return True, ""
        second = next((i for i, part in enumerate(two) if part.get("call")), None)
        if second is None:
            raise Refused("of several calls only the first is written")
        between = two[second - 1]
        return False, between["text"] if between["kind"] == "literal" else ""

    def needs_long_ids(self):
        try:
            self.template.render(None, ["u", {"role": "assistant", "content": "", "tool_calls": [
                function_call("n", {}, "1")]}], "default", False, tools=self.TOOLS)
        except Refused:
            return True
        return False

    def turn(self, kinds, follow):
        """The sequences of the last message of `kinds`: plain, and with thoughts."""
        index, mark, kind = len(kinds) - 1, marked(str(len(kinds) - 1)), kinds[-1]

        def context(text):
            return self.render(kinds + follow, (index, text))

        plain = context(mark)
        parts = self.parts_of(plain, index)
        escape = kind == "r" and '\\"' + mark in context('"' + mark)
        if plain.count(mark) != 1:  # calls without their text
            if kind != "c":
                raise Refused("a message is repeated or left out")
            sequence = self.without_calls(parts)
            return sequence, sequence
        before, after = plain.split(mark)

        def unescaped(text):
            render = context(text)
            inner = render[len(before):len(render) - len(after)]
            return before + json.loads(f'"{inner}"', strict=False) + after

        shift, whole, think = self.reducer.content_parts(unescaped if escape else context, str(index))
        whole, think = ([dict(part, escape=escape) if part["kind"] != "literal" else part for part in some]
                        for some in (whole, think))
        at = next(i for i, part in enumerate(parts) if part["kind"] == "content" and part["call"] is None)
        lead, rest = parts[:at], parts[at + 1:]
        if kind == "c":
            rest = self.if_text(lead, self.without_calls(rest), self.without_calls(
                self.parts_of(context(""), index)))
        think_lead = lead
        if shift:
            thoughts = self.parts_of(context(f"<think>{marked(f'r{index}')}</think>{mark}"), index)
            think_lead = thoughts[:next(i for i, part in enumerate(thoughts) if part["kind"] == "reasoning")]
        return lead + whole + rest, think_lead + think + rest

    @staticmethod
    def if_text(lead, rest, empty):
        """`rest`, where its beginning may be left out behind an empty text."""
        def text(parts):
            return "".join(part["text"] for part in parts if part["kind"] == "literal")

        whole, shorter = text(lead) + text(rest), text(empty)
        cut = len(whole) - len(shorter)
        if cut == 0 and whole == shorter:
            return rest
        literal = rest[0].get("text", "")
        if cut < 0 or text(lead) + literal[cut:] != shorter:
            raise Refused("an empty text in front of calls changes what stands around it")
        return [{"kind": "literal", "text": literal[:cut], "if_text": True},
                {"kind": "literal", "text": literal[cut:]}] + rest[1:]

    def layout(self):
        turns = []
        for kinds in TURNS:
            for follow in FOLLOWERS[kinds[-1]]:
                # A question alone, without tools, is no conversation with tools.
                if follow is None or kinds + follow == "u" and not self.tools:
                    turns += [-1, -1]
                else:
                    turns += [self.reducer.sequence(parts) for parts in self.turn(kinds, follow)]
        endings = []
        for kinds in ("u", "ua", "ucr"):
            for generation in (False, True):
                try:
                    parts = self.cut(self.render(kinds, generation=generation))
                    last = max(i for i, (owner, _) in enumerate(parts) if owner >= 0)
                    endings.append(self.reducer.sequence([part for _, part in parts[last + 1:]]))
                except Refused:
                    endings.append(-1)
        return {"turns": turns, "endings": endings}

    def reduce(self):
        first = len(self.reducer.sequences)
        self.find_writing()
        single, between_calls = self.find_calls()
        layouts, choices, refused = [], [], None
        for tools in (None, self.TOOLS):
            for thinking in THINKING:
                for system in SYSTEMS:
                    self.tools, self.thinking = tools, thinking
                    self.system = {"none": None, "empty": "", "text": marked("s")}[system]
                    try:
                        layout = self.layout()
                    except Refused as error:
                        if system == "none":
                            raise
                        choices.append(-1)
                        continue
                    if layout not in layouts:
                        layouts.append(layout)
                    choices.append(layouts.index(layout))
        self.system, self.thinking = None, "default"
        same = self.render("uau", (2, marked("0"))).count(marked("tool0"))
        return dict(self.writing[0], first_sequence=first, layouts=layouts, choices=choices,
                    call=self.reducer.sequence(self.call), between_calls=between_calls,
                    between_tools=self.between_tools or "", notation=self.notation, single_call=single,
                    id_size=9 if self.needs_long_ids() else 0, same_text_is_last=same > 1)


TOOL_LISTS = (
    [{"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {}}}],
    [{"type": "function", "function": {
        "name": "get_weather", "description": "Weather, \"now\"\n\tor \\ later: 21 \u00b0C </tools><|im_end|>",
        "return": {"type": "string"}, "strict": True, "parameters": {
            "type": "object", "required": ["city"], "properties": {
                "city": {"type": "string", "enum": ["Z\u00fcrich", "\u6771\u4eac", "\U0001f600"], "default": None},
                "days": {"type": "integer", "minimum": -1, "maximum": 1e16, "multipleOf": 0.5},
                "none": {}, "empty": [], "nested": [[1, [2.50, -0.0]], {"a": {"b": []}}]}}}},
     {"type": "function", "function": {"name": "<|eot_id|>", "parameters": None}},
     {"type": "function", "function": {"description": "", "name": "x\u0001\u007f", "parameters": {"a": 1e-7}}}],
)
ARGUMENTS = ({}, {"city": "Z\u00fcrich \"x\"\n", "days": [1, 2.0, 1e22, True, None, {}]}, {"</tool_call>": "<|eot_id|>"})
# A d: two calls at once.
SHAPES = ("u", "ua", "uau", "uauau", "ucr", "ucrr", "udrr", "ucra", "ucrcr", "uaucr", "ucrau", "ucrdrrau", "ucraua",
          "uaucrcra", "ucraucrau")
TOOL_STYLES = {
    "tools": lambda kind, i, text: "" if kind == "c" else text,
    "tools, empty": lambda kind, i, text: "",
    "tools, spaces": lambda kind, i, text: f"\n \u00a0{text} \u2003\x1c\n\n",
    "tools, thoughts": lambda kind, i, text: (f"<think>\nFirst.\n</think>\n\n{text}" if kind in "ac" else
                                              f"{text} </think> {text}"),
    "tools, only thoughts": lambda kind, i, text: "<think>\nFirst.\n</think>\n\n" if kind == "c" else text,
    "tools, same texts": lambda kind, i, text: "Again?",
    "tools, control tokens": lambda kind, i, text: f'"<|im_end|>\n</tool_response>{text}[/TOOL_RESULTS]\\<|eot_id|>',
}
NAMES = ("now", "get_weather", 'a"b\\c<|im_end|>')


def tool_probes(template):
    """The same for conversations with tools."""
    for thinking in THINKING:
        for system in (None, "You are terse.", "", " \u00a0<|im_end|> "):
            for n, tools in enumerate((None,) + TOOL_LISTS):
                for style in TOOL_STYLES if n == 2 or system is None else ("tools",):
                    for shape in SHAPES:
                        if tools or set("cd") & set(shape):
                            yield from tool_probe(template, thinking, system, tools, style, shape)


def tool_probe(template, thinking, system, tools, style, shape):
    messages, given = [], []
    for i, kind in enumerate(shape):
        several, kind = kind == "d", kind.replace("d", "c")
        text = TOOL_STYLES[style](kind, i, WORDS[i % len(WORDS)])
        message = {"role": ROLES[kind], "content": text}
        given.append(dict(message))
        if kind == "c":
            calls = [(NAMES[(i + c) % 3], ARGUMENTS[(i + c) % 3], f"call{i}{c:04}")
                     for c in range(1 + several)]
            message["tool_calls"] = [function_call(*call) for call in calls]
            given[-1]["calls"] = [{"name": name, "arguments": json.dumps(arguments, separators=(" ,\n", ":\t")),
                                   "id": call_id} for name, arguments, call_id in calls]
        if kind == "r":
            message["tool_call_id"] = given[-1]["id"] = f"call{i - 1}0000"
        messages.append(message)
    for generation in (True, False):
        try:
            render = template.render(system, messages, thinking, generation, tools=tools)
        except Refused:
            render = None
        yield {"group": style, "system": system, "messages": given, "thinking": thinking, "generation": generation,
               "tools": json.dumps(tools, indent=1) if tools else "", "render": render}
