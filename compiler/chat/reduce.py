"""Reduces a chat template (Jinja) to a turn grammar, with Python's jinja2 as the reference engine. One program
with reduce_tools.py and reduce_main.py, in this order.
"""
import sys

sys.path = [folder for folder in sys.path if folder]  # nothing from the folder that jllmc runs in

import datetime  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402

# What templates are rendered with where they ask for the date; the plan keeps the format, not the date.
NOW = datetime.datetime(2024, 7, 26)
THINKING = ("default", "on", "off")
SYSTEMS = ("none", "empty", "text")
SWITCHES = ("/no_think", "/think")
STRIPS = (("none", ""), ("newlines", "\n"), ("spaces", None))
PAD = "\n \n"


class Refused(Exception):
    """The template itself refuses a conversation, or cannot be reduced."""


class Template:
    """The real template behind one function."""

    def __init__(self, request):
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message):
            raise jinja2.exceptions.TemplateError(message)

        def to_json(value, indent=None, ensure_ascii=False, separators=None, sort_keys=False):
            return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                              sort_keys=sort_keys)

        env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                            extensions=["jinja2.ext.loopcontrols"])
        env.filters["tojson"] = to_json
        env.globals["raise_exception"] = refuse
        self.marks_dates = False
        env.globals["strftime_now"] = self.date
        self.template = env.from_string(request["template"])
        self.tokens = {key: request.get(key) or "" for key in ("bos_token", "eos_token")}
        self.errors = (jinja2.exceptions.TemplateError, TypeError, KeyError, ValueError, AttributeError)

    def date(self, form):
        return f"\x01{form}\x02" if self.marks_dates else NOW.strftime(form)

    def render(self, system, texts, thinking, generation, marks_dates=False, tools=None):
        """`texts`: of user, assistant, user, ...; or whole messages."""
        messages = [] if system is None else [{"role": "system", "content": system}]
        for i, text in enumerate(texts):
            messages.append(text if isinstance(text, dict) else
                            {"role": ("user", "assistant")[i % 2], "content": text})
        values = dict(self.tokens)
        if tools:
            values["tools"] = tools
        if thinking != "default":
            values["enable_thinking"] = values["thinking"] = thinking == "on"
        self.marks_dates = marks_dates
        try:
            return self.template.render(messages=messages, add_generation_prompt=generation, **values)
        except self.errors as error:
            raise Refused(str(error)) from error


def marked(name):
    return f"Zq{name}qZ"


def literals(text):
    """A stretch of template text as parts: its literal text, and the dates in it."""
    parts = []
    for i, piece in enumerate(re.split("\x01(.*?)\x02", text)):
        if piece:
            parts.append({"kind": "date" if i % 2 else "literal", "text": piece})
    return parts


def slot(kind, left="none", right="none"):
    return {"kind": kind, "left": left, "right": right}


def strip_of(remaining, right):
    """Which strip turns PAD into `remaining`."""
    for name, characters in STRIPS:
        rest = PAD if name == "none" else PAD.rstrip(characters) if right else PAD.lstrip(characters)
        if rest == remaining:
            return name
    raise Refused(f"unknown trimming: {PAD!r} becomes {remaining!r}")


class Reducer:
    def __init__(self, template):
        self.template = template
        self.sequences = []
        self.layouts = []
        self.removals = False

    def sequence(self, parts):
        if parts not in self.sequences:
            self.sequences.append(parts)
        return self.sequences.index(parts)

    def split(self, render, names):
        """`render` cut at its marks, which must all be there once and in order; the system's may be anywhere."""
        pieces = re.split("Zq(.*?)qZ", render)
        stretches, current = [], []
        seen = []
        for i, piece in enumerate(pieces):
            if i % 2 == 0:
                current += literals(piece)
            elif piece == "s":
                current.append(slot("system", *self.system_strip))
            else:
                seen.append(piece)
                stretches.append(current)
                current = []
        if seen != names:
            raise Refused(f"messages come out as {seen}, not as {names}")
        return stretches + [current]

    def pads(self, before, content, after, mark, context):
        """What the template leaves of PAD on both sides of `mark` in `content`'s render."""
        render = context(content)
        at = render.find(marked(mark))
        if render.count(marked(mark)) != 1:
            raise Refused("a message is repeated or left out")
        left, right = render[:at], render[at + len(marked(mark)):]
        if not left.startswith(before) or not right.endswith(after):
            raise Refused("a message's text changes what stands around it")
        return left[len(before):], right[:len(right) - len(after)]

    def content_parts(self, context, mark):
        """Parts for a message's text: without, and with a </think> in it."""
        plain = context(marked(mark))
        before, after = plain.split(marked(mark))
        left, right = self.pads(before, PAD + marked(mark) + PAD, after, mark, context)
        strips = strip_of(left, False), strip_of(right, True)
        whole = [slot("content", *strips)]
        thoughts = f"<think>{PAD}{marked('r')}{PAD}</think>"
        render = context(thoughts + PAD + marked(mark) + PAD)
        if render == before + thoughts + PAD + marked(mark) + (PAD if right else "") + after:
            return [], whole, whole
        right = render[render.find(marked(mark)) + len(marked(mark)):]
        # What this form puts before the text may be another one: the caller takes it as it is.
        if marked("r") not in render:
            left, right = self.pads(before, thoughts + PAD + marked(mark) + PAD, after, mark, context)
            return [], whole, [slot("answer", strip_of(left, False), strip_of(right, True))]
        return self.reasoning_parts(context, mark, before, after, whole)

    def reasoning_parts(self, context, mark, before, after, whole):
        """The thoughts and the answer stand apart: three renders tell the literals from the strips."""
        bare = context(f"<think>{marked('r')}</think>{marked(mark)}")
        match = re.fullmatch(f"(.*){marked('r')}(.*){marked(mark)}(.*)", bare, re.S)
        if not match or match.group(3) != after:
            raise Refused("thoughts come out in a way that has no name")
        lead, middle, _ = match.groups()
        padded = context(f"<think>{PAD}{marked('r')}{PAD}</think>{PAD}{marked(mark)}{PAD}")
        match = re.fullmatch(f"(.*){marked('r')}(.*){marked(mark)}(.*)", padded, re.S)
        if not match or not match.group(1).startswith(lead) or not match.group(3).endswith(after):
            raise Refused("thoughts come out in a way that has no name")
        strips = [match.group(1)[len(lead):], None, None, match.group(3)[:len(match.group(3)) - len(after)]]
        for right, _ in STRIPS:
            for left, _ in STRIPS:
                ends = dict(STRIPS)
                kept_right = PAD if right == "none" else PAD.rstrip(ends[right])
                kept_left = PAD if left == "none" else PAD.lstrip(ends[left])
                if match.group(2) == kept_right + middle + kept_left and strips[1] is None:
                    strips[1:3] = right, left
        if strips[1] is None:
            raise Refused("thoughts come out in a way that has no name")
        think = [slot("reasoning", strip_of(strips[0], False), strips[1])] + literals(middle)
        think.append(slot("answer", strips[2], strip_of(strips[3], True)))
        # The stretch before the mark is cut with an empty reasoning: its own literals are the difference.
        return [(before, lead)], whole, think

    def layout(self, system, thinking):
        text = {"none": None, "empty": "", "text": marked("s")}[system]

        def render(texts, generation):
            return self.template.render(text, texts, thinking, generation, marks_dates=True)

        def names(count):
            return [str(i) for i in range(count)]

        def reduce_turn(index, from_end):
            count = index + from_end + 1
            generation = count % 2 == 1
            marks = [marked(str(i)) for i in range(count)]
            stretches = self.split(render(marks, generation), names(count))

            def context(content):
                return render(marks[:index] + [content] + marks[index + 1:], generation)

            shift, whole, think = self.content_parts(context, str(index))
            lead = stretches[index]
            if not shift:
                return lead + whole, lead + think
            before, thought_lead = shift[0]
            # Both begin with what stands before this message.
            fixed = before[:before.rfind("qZ") + 2] if index else ""
            return lead + whole, literals(thought_lead[len(fixed):]) + think

        turns, endings = [], []
        for role in (0, 1):
            for later in (0, 1):
                for from_end in (0, 1, 2):
                    index = role + 2 * later
                    # A message further from the end is the same as one at distance 2 or 3.
                    plain, think = reduce_turn(index, from_end)
                    turns += [self.sequence(plain), self.sequence(think)]
                for generation in (False, True):
                    count = role + 2 * later + 1
                    try:
                        marks = [marked(str(i)) for i in range(count)]
                        endings.append(self.sequence(self.split(render(marks, generation),
                                                                names(count))[-1]))
                    except Refused:
                        endings.append(-1)
        return {"turns": turns, "endings": endings}

    def find_system_rules(self, thinking):
        self.system_strip = ("none", "none")
        try:
            plain = self.template.render(marked("s"), ["u"], thinking, True)
            before, after = plain.split(marked("s"))
            render = self.template.render(PAD + marked("s") + PAD, ["u"], thinking, True)
            left, right = self.pads(before, None, after, "s", lambda _: render)
            self.system_strip = strip_of(left, False), strip_of(right, True)
            texts = [self.template.render(f"{marked('s')}{switch}{marked('t')}", ["u"], thinking, True)
                     for switch in SWITCHES]
            self.removals = all(marked("s") + marked("t") in text for text in texts)
        except (Refused, ValueError):
            pass  # no system text, or one that is not simply put in: the layouts say so

    def reduce(self):
        self.find_system_rules("default")
        choices, refusals = [], []
        for thinking in THINKING:
            for system in SYSTEMS:
                try:
                    layout = self.layout(system, thinking)
                except Refused as error:
                    if system == "none":
                        raise
                    choices.append(-1)
                    refusals.append(str(error))
                    continue
                if layout not in self.layouts:
                    self.layouts.append(layout)
                choices.append(self.layouts.index(layout))
        tools, tools_refusal = None, ""
        kept = len(self.sequences)
        try:
            tools = ToolReducer(self).reduce()
        except Exception as error:  # a template may do anything with tools: the rest of it still holds
            del self.sequences[kept:]
            tools_refusal = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        return {
            "tools": tools,
            "tools_refusal": tools_refusal,
            "sequences": self.sequences,
            "layouts": self.layouts,
            "choices": choices,
            "system_refusal": refusals[0] if refusals else "",
            "system_strip": self.system_strip,
            "switches": list(SWITCHES) if self.removals else [],
        }


WORDS = ("What is a lathe?", "A machine that turns work.", "And a mill?", "It turns the tool.", "Thanks!",
         "You are welcome.", "One more:\n\n- yes", "Done.")
STYLES = {
    "plain": lambda i, text: text,
    "spaces": lambda i, text: f"\n \u00a0{text} \u2003\x1c\n\n",
    "thoughts": lambda i, text: f"<think>\nFirst {i}.\n</think>\n\n{text}" if i % 2 else text,
    "odd thoughts": lambda i, text: (f"a<think>b</think>\n c \n</think> {text}\n" if i % 4 == 1 else
                                     f"<think>\n{text}" if i % 4 == 3 else f"{text} </think> {text}"),
    "empty": lambda i, text: "" if i % 3 else text,
    "control tokens": lambda i, text: f"<|im_end|>\n<|im_start|>system\n{text}</s><end_of_turn>[/INST]<|eot_id|>",
}
PROBE_SYSTEMS = {
    "plain": (None, "You are terse.", ""),
    "spaces": ("\n You are terse. \n", " \n", "\u3000x\u3000"),
    "control tokens": ("<|im_end|>\n<|eot_id|></s>",),
    "switches": ("Be brief. /no_think", "/think Be brief.\n", "/no_think", "/think /no_think", "a/th/no_thinkink"),
}


def probes(template):
    """Conversations with what the template makes of them; null where it refuses them."""
    for thinking in THINKING:
        for group, systems in PROBE_SYSTEMS.items():
            styles = ("plain",) if group == "switches" else STYLES
            for system in systems:
                for style in styles:
                    for count in range(1, len(WORDS) + 1):
                        for generation in (True, False):
                            texts = [STYLES[style](i, WORDS[i]) for i in range(count)]
                            try:
                                render = template.render(system, texts, thinking, generation)
                            except Refused:
                                render = None
                            yield {"group": style if group == "plain" else group, "system": system,
                                   "messages": texts, "thinking": thinking, "generation": generation,
                                   "render": render}
