#!/usr/bin/env python3
"""The page of jllm serve in a headless Chromium: with the bundled model on this machine's processor, and with a
server whose model writes what a hostile one would. Skipped (status 77) where there is no Chromium.
JLLM_SCREENSHOTS=FOLDER keeps pictures of it.

usage: page_test.py JLLM JLLMC MODEL.gguf WORK_FOLDER SCRIPTED_SERVER
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from browser import browsing, find_chromium
from servers import serving

JLLM, JLLMC, MODEL, WORK, SCRIPTED = sys.argv[1:6]
PAGE = os.path.join(os.path.dirname(__file__), "../../../tools/jllm/serve/page/index.html")
PLAN = os.path.join(WORK, "page_test.jllm")
QUESTION = "My lamp stays dark. What should I do?"
ANSWER_BEGINS = "Unplug it first and look inside."
KEY = "the-key"
PICTURES = os.environ.get("JLLM_SCREENSHOTS")
# Each is text of a model, and none of it may become more than the marks that the page knows.
ATTACKS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg onload=\"window.pwned = 1\"><iframe srcdoc='<script>top.pwned = 1</script>'></iframe></svg>",
    "[click](javascript:window.pwned=1) [tab](java\tscript:window.pwned=1) [data](data:text/html,<script>1</script>)",
    "![x](https://attacker.invalid/steal?q=1) ![y](x\" onerror=\"window.pwned=1)",
    "```html\n</code></pre><script>window.pwned = 1</script>\n```",
    "| a | b |\n|---|---|\n| <img src=x onerror=window.pwned=1> | `<b>` |",
    "# <a href=javascript:window.pwned=1>x</a>\n> <style>*{display:none}</style>\n1. <base href=//attacker.invalid>",
    "**<u>bold</u>** &lt;script&gt; <https://ok.example/\"onmouseover=\"window.pwned=1>",
    "<think><script>window.pwned = 1</script></think>done",
]
# All that an answer may be made of.
TAGS = set("p div span article section details summary button pre code em strong del a ul ol li h3 h4 h5 h6 blockquote "
           "hr br table thead tbody tr th td".split())
ATTRIBUTES = {"class", "id", "href", "target", "rel", "type", "tabindex", "start", "hidden"}
RICH = ("<think>The user wants a plan. Short is better.</think>## Check it in this order\n\n"
        "1. **Unplug** the lamp.\n2. Try another `socket`:\n   - one that works\n   - with a *known* good bulb\n\n"
        "> Never open it while it is plugged in.\n\n"
        "| part | looks | do |\n|---|---|---|\n| bulb | black | replace |\n| fuse | open | replace |\n\n"
        "```sh\ncurl http://127.0.0.1:8080/health --silent --show-error --fail --max-time 10 | python3 -m json.tool\n"
        "```\n\nMore at [the guide](https://example.org/lamps) or https://example.org/a_b_c.")
# The contrast of every text that is seen, against the colour behind it.
CONTRAST = """(() => {
  const parse = (text) => { const v = text.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => { const v = c.slice(0, 3).map((x) => x / 255).map((x) => x <= 0.03928 ? x / 12.92 :
      ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = (node) => { const all = [];
    for (let n = node; n; n = n.parentElement) all.push(parse(getComputedStyle(n).backgroundColor));
    return all.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]); };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const isField = node.matches('input, textarea, button');
    if ((!own && !isField) || !node.checkVisibility() || node.closest('.hidden, script, style')) continue;
    const style = getComputedStyle(node), name = node.tagName + '#' + node.id + '.' + node.className;
    found.push([name + ' text', ratio(over(parse(style.color), behind(node)), behind(node)), 4.5]);
    if (isField && style.borderTopWidth !== '0px') {
      found.push([name + ' edge', ratio(parse(style.borderTopColor), behind(node.parentElement)), 3]);
    }
    if (node.placeholder) {
      const shown = getComputedStyle(node, '::placeholder');
      found.push([name + ' hint', ratio(over(parse(shown.color), behind(node)), behind(node)), 4.5]);
    }
  }
  return found;
})()"""
ANSWERS = "document.querySelectorAll('article').length"
LAST = "[...document.querySelectorAll('article')].pop()"
IS_DONE = "document.getElementById('stop').hidden"
TROUBLE = "document.getElementById('trouble').innerText"


class HotMachine:
    """A machine so warm that the server pauses 50 ms in front of every token: time enough to see a text grow."""

    def __init__(self):
        self.folder = os.path.join(WORK, "page_machine")
        for path, text in (("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
                           ("sys/class/thermal/thermal_zone0/temp", "75500"),
                           ("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 4096000 kB")):
            path = os.path.join(self.folder, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "\n")

    def serve(self, *options):
        return serving(JLLM, "serve", PLAN, "--port", "0", "--threads", "1", "-t", "0", "--thermal", "60,90", *options,
                       environment={"JLLM_SYSFS_ROOT": self.folder})


class Base(unittest.TestCase):
    browser = None

    def setUp(self):
        self.browser.size(1200, 800)
        self.browser.media()
        self.browser.requested.clear()
        self.browser.console.clear()

    def open(self, server, clean=True):
        self.browser.open(server.url + "/")
        if clean:
            self.browser.run("localStorage.clear(); sessionStorage.clear()")
            self.browser.open(server.url + "/?" + str(time.monotonic()))

    def ask(self, text=QUESTION):
        self.browser.run("document.getElementById('text').focus()")
        self.browser.type(text)
        self.browser.press("Enter")

    def answer(self, text=QUESTION):
        """Asks and waits for the end; what is seen of the answer."""
        before = self.browser.run(ANSWERS)
        self.ask(text)
        self.browser.wait(f"{ANSWERS} === {before + 1} && {IS_DONE}")
        return self.browser.run(LAST + ".querySelector('.text').innerText")

    def trouble(self, words):
        self.browser.wait(f"{TROUBLE}.includes({json.dumps(words)})")

    def button(self, name):
        self.browser.run("document.querySelectorAll('[data-wanted]').forEach((b) => delete b.dataset.wanted); "
                         "[...document.querySelectorAll('button')].find((b) => b.checkVisibility() && "
                         f"b.innerText === {json.dumps(name)}).dataset.wanted = ''")
        self.browser.click("[data-wanted]")

    def check_looks(self):
        """Contrast of all that is seen, and nothing wider than the window."""
        for name, ratio, least in self.browser.run(CONTRAST):
            self.assertGreaterEqual(ratio, least, name)
        wide = self.browser.run("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
        self.assertLessEqual(wide, 0)
        log = self.browser.run("(() => { const l = document.getElementById('log'); "
                               "return l.scrollWidth - l.clientWidth; })()")
        self.assertLessEqual(log, 0)

    def picture(self, name):
        if PICTURES:
            time.sleep(0.3)
            self.browser.picture(os.path.join(PICTURES, name + ".png"))


class RealModel(Base):
    @classmethod
    def setUpClass(cls):
        cls._block = HotMachine().serve("--queue", "0")
        cls.server = cls._block.__enter__()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.end()
        cls._block.__exit__(None, None, None)
        assert code == 0, cls.server.log

    def test_streams_an_answer(self):
        self.open(self.server)
        self.ask()
        seen = set()
        while not self.browser.run(f"{ANSWERS} === 1 && {IS_DONE}"):
            seen.add(self.browser.run(f"{ANSWERS} ? {LAST}.querySelector('.text').innerText : ''"))
        text = self.browser.run(LAST + ".querySelector('.text').innerText")
        self.assertTrue(text.startswith(ANSWER_BEGINS), text)
        self.assertGreater(len(seen - {"", text}), 3, "it came in one piece")
        status, reply = self.server.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": QUESTION}], "temperature": 0})
        self.assertEqual((status, reply["choices"][0]["message"]["content"].split()), (200, text.split()))
        foot = self.browser.run(LAST + ".querySelector('.foot').innerText")
        self.assertIn(f"{reply['usage']['completion_tokens']} tokens · ", foot)
        self.assertRegex(self.browser.run("document.getElementById('speed').innerText"), r"^\d+\.\d tok/s$")
        # The conversation goes on with what was said, and "New conversation" forgets it.
        self.answer("Who made it?")
        self.assertEqual([turn["role"] for turn in self.browser.run("turns")], ["user", "assistant"] * 2)
        self.button("New conversation")
        self.assertEqual(self.browser.run(f"[turns.length, {ANSWERS}]"), [0, 0])
        self.assertEqual(self.browser.console, [])

    def test_stops_and_answers_again(self):
        self.open(self.server)
        cancelled = self.server.metric("jllm_cancelled_total")
        self.ask()
        self.browser.wait(f"{ANSWERS} && {LAST}.querySelector('.text').innerText.length > 5")
        self.browser.click("#stop")
        self.browser.wait(IS_DONE)
        text = self.browser.run(LAST + ".querySelector('.text').innerText")
        self.assertIn("stopped", self.browser.run(LAST + ".querySelector('.foot').innerText"))
        self.server.wait_until(lambda: self.server.metric("jllm_cancelled_total") == cancelled + 1,
                               "the request goes on")
        self.button("Answer again")
        self.browser.wait(f"{ANSWERS} === 1 && {IS_DONE}")
        whole = self.browser.run(LAST + ".querySelector('.text').innerText")
        self.assertTrue(whole.startswith(text) and len(whole) > len(text), (text, whole))
        self.assertEqual(self.browser.run("turns.length"), 2)
        self.ask("And then?")
        self.browser.wait(f"{ANSWERS} === 2")
        self.browser.press("Escape")
        self.browser.wait(IS_DONE)

    def test_settings_are_kept_and_sent(self):
        self.open(self.server)
        for name, value in (("most", "3"), ("temperature", "0"), ("system", "Be brief.")):
            self.browser.click("#" + name)
            self.browser.type(value)
        self.browser.press("Tab")
        self.open(self.server, clean=False)
        self.assertEqual(self.browser.run("['most', 'temperature', 'system'].map((id) => $(id).value)"),
                         ["3", "0", "Be brief."])
        self.answer()
        self.assertRegex(self.browser.run(LAST + ".querySelector('.foot').innerText"), "^3 tokens.*cut off")
        body = json.loads(self.browser.run("requestBody()"))
        self.assertEqual((body["temperature"], body["max_tokens"], body["messages"][0]),
                         (0, 3, {"role": "system", "content": "Be brief."}))

    def test_tells_of_model_and_machine(self):
        self.open(self.server)
        side = "document.getElementById('side').innerText"
        for words in ("75.5 °C", "3.91 GiB", "512 tokens", "page_test.jllm", "weights"):
            self.browser.wait(f"{side}.includes({json.dumps(words)})")
        self.assertEqual(self.browser.run("document.getElementById('name').innerText"), "Tiny Workshop 5M")
        self.browser.wait("!$('picture').hidden && $('map').firstChild.naturalWidth > 0")
        self.browser.size(1200, 1340)
        self.answer()
        self.check_looks()
        self.picture("page")
        self.browser.size(360, 740, phone=True)
        self.browser.media(prefers_color_scheme="dark")
        self.check_looks()
        self.picture("page-phone")
        self.browser.size(1200, 1340)
        self.browser.click("#map")
        self.browser.wait("$('large').open && $('large').querySelector('img').naturalWidth > 0")
        self.browser.press("Escape")
        self.browser.wait("!$('large').open")

    def test_busy_server_is_asked_again(self):
        self.open(self.server)
        body = {"prompt": "Tom was", "temperature": 0, "ignore_end": True, "max_tokens": 60}
        other = threading.Thread(target=self.server.post, args=("/v1/completions", body))
        other.start()
        try:
            self.server.wait_until(lambda: self.server.get("/health")[1]["slots"]["busy"] == 1, "not busy")
            self.ask()
            self.trouble("queue is full. Trying again in ")
            self.check_looks()
        finally:
            other.join()
        self.browser.wait(f"{ANSWERS} === 1 && {IS_DONE} && {LAST}.innerText.includes('tok/s')")
        self.assertTrue(self.browser.run("$('trouble').hidden"))

    def test_full_context(self):
        self.open(self.server)
        self.browser.run("$('most').value = 5")
        self.answer("word " * 300)
        self.answer()
        self.ask("word " * 250)
        self.trouble("no longer fits")
        self.button("Drop the oldest turns and try again")
        self.browser.wait(f"{IS_DONE} && $('trouble').hidden")
        self.assertEqual(self.browser.run("turns.length"),
                         self.browser.run("$('log').querySelectorAll('.user, article').length"))
        self.button("New conversation")
        self.ask("word " * 600)
        self.trouble("no longer fits")
        self.assertNotIn("oldest", self.browser.run(TROUBLE))
        self.button("New conversation")
        self.assertTrue(self.browser.run("$('trouble').hidden"))

    def test_headers_and_size(self):
        status, headers, text = self.server.request("GET", "/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        with open(PAGE, encoding="utf-8") as file:
            self.assertEqual(text, file.read())
        self.assertLess(len(text.encode()), 60 << 10)
        policy = headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'; script-src 'sha256-", policy)
        self.assertNotIn("unsafe", policy)
        self.open(self.server)
        # What the policy is for: no other script runs, no markup is made from text, nobody else is asked.
        self.browser.run("(() => { const s = document.createElement('script'); "
                         "try { s.textContent = 'window.pwned = 1'; document.body.append(s); } catch {} })()")
        self.assertIsNone(self.browser.run("window.pwned"))
        self.assertTrue(self.browser.run("(() => { try { document.body.innerHTML = '<b>x</b>'; return false; } "
                                         "catch { return true; } })()"))
        self.assertTrue(self.browser.run("fetch('http://127.0.0.2:9/').then(() => false, () => true)"))


class OwnServer(Base):
    """States in which each test has a server of its own."""

    def test_key(self):
        with HotMachine().serve("--api-key", KEY) as server:
            self.assertEqual(server.request("GET", "/")[0], 200)
            self.assertEqual(server.request("GET", "/plan.svg")[0], 401)
            status, headers, text = server.request("GET", "/plan.svg", headers={"Authorization": "Bearer " + KEY})
            self.assertEqual((status, headers["Content-Type"]), (200, "image/svg+xml"))
            self.assertTrue(text.startswith("<svg "))
            self.open(server)
            self.browser.wait("document.activeElement === $('secret')")
            self.ask()
            self.trouble("wants an API key")
            self.check_looks()
            self.picture("key")
            self.browser.wait("document.activeElement === $('secret')")
            self.browser.type("wrong")
            self.browser.press("Enter")
            self.trouble("not its own")
            self.browser.wait("document.activeElement === $('secret')")
            self.browser.type(KEY)
            self.browser.press("Enter")
            self.browser.wait(f"{ANSWERS} === 1 && {IS_DONE} && $('name').innerText === 'Tiny Workshop 5M'")
            self.assertEqual(self.browser.run("localStorage.getItem('jllm.key')"), None)
            server.end()

    def test_server_gone(self):
        with HotMachine().serve() as server:
            self.open(server)
            self.ask()
            self.browser.wait(f"{ANSWERS} && {LAST}.querySelector('.text').innerText.length > 5")
            server.end(signal.SIGKILL)
            self.trouble("cannot be reached, or the connection broke off")
            self.assertIn("broken off", self.browser.run(LAST + ".querySelector('.foot').innerText"))
            self.browser.wait("$('state').innerText === 'the server cannot be reached'")
            self.button("Try again")
            self.trouble("cannot be reached")
            self.check_looks()
            self.picture("gone")
            self.assertEqual(self.browser.run("[turns.length, $('log').querySelectorAll('article').length]"), [1, 0])

    def test_draining(self):
        with HotMachine().serve() as server:
            self.open(server)
            body = {"prompt": "Tom was", "temperature": 0, "ignore_end": True, "max_tokens": 100}
            other = threading.Thread(target=server.post, args=("/v1/completions", body))
            other.start()
            server.wait_until(lambda: server.get("/health")[1]["slots"]["busy"] == 1, "not busy")
            server.process.send_signal(signal.SIGTERM)
            server.wait_until(lambda: server.get("/health")[0] == 503, "not draining")
            self.ask()
            self.trouble("shutting down")
            self.browser.wait("$('state').innerText.startsWith('ending')")
            other.join()
            self.assertEqual(server.wait(), 0)

    def test_no_page(self):
        with HotMachine().serve("--no-page") as server:
            for path in ("/", "/plan.svg"):
                self.assertEqual(server.request("GET", path)[0], 404)
            server.end()


class AnyText(Base):
    def scripted(self, *replies):
        return serving(SCRIPTED, PLAN, "1", *replies)

    def test_hostile_text(self):
        with self.scripted(*ATTACKS) as server:
            self.open(server)
            protocols = set()
            for attack in ATTACKS:
                self.answer("Hello")
                # The server must have said it, or nothing is shown by this.
                self.assertEqual(self.browser.run("turns[1].content").strip(), attack)
                tags = set(self.browser.run("[...$('log').querySelectorAll('*')].map((n) => n.localName)"))
                self.assertEqual(tags - TAGS, set(), attack)
                attributes = set(self.browser.run(
                    "[...$('log').querySelectorAll('*')].flatMap((n) => n.getAttributeNames())"))
                self.assertEqual(attributes - ATTRIBUTES, set(), attack)
                for protocol, rel in self.browser.run(
                        "[...$('log').querySelectorAll('a')].map((a) => [a.protocol, a.rel])"):
                    protocols.add(protocol)
                    self.assertEqual(rel, "noopener noreferrer")
                self.button("New conversation")
            self.assertEqual(protocols, {"https:"})
            time.sleep(0.3)  # for what an element would do that has been made
            self.assertIsNone(self.browser.run("window.pwned"))
            strangers = [url for url in self.browser.requested
                         if not url.startswith((server.url, "data:", "blob:"))]
            self.assertEqual(strangers, [])
            self.assertTrue(self.browser.requested)
            server.end()

    def test_markdown(self):
        with self.scripted("Hello") as server:
            self.open(server)
            # innerHTML is read here, never written.
            def html(text):
                return self.browser.run(f"make('div', '', ...markdown({json.dumps(text)})).innerHTML")
            for text, want in (
                    ("a **b** *c* `d<` ~~e~~", "<p>a <strong>b</strong> <em>c</em> <code>d&lt;</code> <del>e</del></p>"),
                    ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
                    ("**open and `open", "<p>**open and `open</p>"),
                    ("# T\ntext\nmore", "<h3>T</h3><p>text<br>more</p>"),
                    ("- a\n- b\n  1. c\n\nend", "<ul><li>a</li><li>b<ol start=\"1\"><li>c</li></ol></li></ul><p>end</p>"),
                    ("```\n<b>\n\n**x**", "<pre tabindex=\"0\"><code>&lt;b&gt;\n\n**x**</code></pre>"),
                    ("> a\n> b", "<blockquote><p>a<br>b</p></blockquote>"),
                    ("---", "<hr>"),
                    ("\\*a\\* &amp; <i>", "<p>*a* &amp;amp; &lt;i&gt;</p>"),
                    ("|a|b|\n|-|-|\n|1|2|", "<div class=\"table\" tabindex=\"0\"><table><thead><tr><th>a</th><th>b</th></tr>"
                     "</thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>")):
                self.assertEqual(html(text), want)
            # Texts that would take a careless renderer for ever, or too deep.
            for text in ("*" * 20000, "> " * 5000 + "x", "[" * 20000, "_a" * 10000, "`" * 20001, "  " * 9000 + "- x",
                         "\n".join(" " * i + "- x" for i in range(300)), "- - - " * 3000 + "x", "|-" * 9000):
                begin = time.monotonic()
                html(text)
                self.assertLess(time.monotonic() - begin, 5, text[:20])
            server.end()

    def test_thinking(self):
        with self.scripted(RICH) as server:
            self.open(server)
            text = self.answer("How do I check a lamp?")
            self.assertTrue(text.startswith("Check it in this order"), text)
            self.assertEqual(self.browser.run("[splitThinking('<thi'), splitThinking('a</think>b'), "
                                              "splitThinking('<b'), splitThinking(' <think>x')]"),
                             [["", ""], ["a", "b"], ["", "<b"], ["x", ""]])
            self.assertFalse(self.browser.run(LAST + ".querySelector('details').open"))
            self.browser.click("summary")
            self.assertIn("Short is better", self.browser.run(LAST + ".innerText"))
            server.end()

    def test_looks(self):
        with self.scripted(RICH) as server:
            for name, width, height, scheme in (("light", 1200, 800, "light"), ("dark", 1200, 800, "dark"),
                                                ("phone", 360, 740, "light"), ("phone-dark", 360, 740, "dark")):
                self.browser.size(width, height, phone=name.startswith("phone"))
                self.browser.media(prefers_color_scheme=scheme)
                self.open(server)
                self.answer("How do I check a lamp? " + "A_very_long_word" * 8)
                self.browser.wait("$('rate').innerText !== '–'")
                self.check_looks()
                self.picture(name)
                if name.startswith("phone"):
                    self.browser.click("#more")
                    self.assertEqual(self.browser.run("$('more').getAttribute('aria-expanded')"), "true")
                    self.check_looks()
                    self.picture(name + "-details")
                    self.browser.click("#more")
            server.end()

    def test_everything_has_a_name_and_the_keyboard_reaches_it(self):
        with self.scripted(RICH) as server:
            self.open(server)
            self.browser.wait("!$('picture').hidden")
            self.answer("Hello")
            nodes = self.browser.call("Accessibility.getFullAXTree")["nodes"]
            controls = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in (
                "button", "textbox", "spinbutton", "link", "DisclosureTriangle", "log", "region", "complementary")]
            self.assertGreater(len(controls), 8)
            for node in controls:
                self.assertTrue(node.get("name", {}).get("value"), node)
            # Tab goes through all that can be used, and each shows that it is there.
            wanted = self.browser.run("[...document.querySelectorAll('button, input, textarea, summary, a, [tabindex]')]"
                                      ".filter((n) => n.checkVisibility()).length")
            self.browser.run("document.activeElement.blur(); window.reached = new Set()")
            for _ in range(wanted + 3):
                self.browser.press("Tab")
                seen = self.browser.run("(() => { const n = document.activeElement; reached.add(n); "
                                        "return n === document.body || getComputedStyle(n).outlineWidth; })()")
                self.assertIn(seen, (True, "3px"))
            self.browser.run("reached.delete(document.body)")
            self.assertEqual(self.browser.run("reached.size"), wanted)
            # What is said aloud comes in few pieces.
            self.browser.run("window.said = 0; new MutationObserver(() => ++said).observe($('said'), {childList: true})")
            self.answer("Hello")
            self.assertIn(self.browser.run("said"), (1, 2))
            self.assertIn("Answer complete.", self.browser.run("$('said').textContent"))
            self.browser.run("$('log').append(make('p', 'waits', 'x'))")
            animation = "getComputedStyle(document.querySelector('.waits'), '::after').animationName"
            self.browser.media(prefers_reduced_motion="no-preference")
            self.assertEqual(self.browser.run(animation), "blink")
            self.browser.media(prefers_reduced_motion="reduce")
            self.assertEqual(self.browser.run(animation), "none")
            server.end()


def main():
    chromium = find_chromium()
    if chromium is None:
        print("skipped: there is no Chromium (apt-get install chromium)")
        return 77
    if PICTURES:
        os.makedirs(PICTURES, exist_ok=True)
    subprocess.run([JLLMC, "compile", MODEL, "--target", "host", "-o", PLAN], stdout=subprocess.DEVNULL, check=True)
    with contextlib.ExitStack() as stack:
        Base.browser = stack.enter_context(browsing(chromium))
        program = unittest.main(argv=[sys.argv[0], *sys.argv[6:]], exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
