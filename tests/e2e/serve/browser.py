"""A headless Chromium of the tests, driven over the DevTools protocol through a pair of pipes: no port, no package."""
import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

LIMIT = 60  # seconds that anything here may take
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9}


def find_chromium():
    """Its path, or None."""
    names = (os.environ.get("JLLM_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


class Browser:
    """One browser with one page."""

    def __init__(self, chromium, folder):
        to_browser, self._to = os.pipe()
        self._from, from_browser = os.pipe()
        # Away from 3 and 4, where the browser looks for them.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        os.close(to_browser)
        os.close(from_browser)

        def place():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        # pylint: disable-next=subprocess-popen-preexec-fn
        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--hide-scrollbars", "--user-data-dir=" + folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(3, 4), preexec_fn=place, env={**os.environ, "HOME": folder})
        for end in ends:
            os.close(end)
        self._rest, self._next, self._session = b"", 0, None
        self.requested, self.console = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(domain + ".enable")

    def close(self):
        os.close(self._to)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._from)

    def _message(self, end):
        while b"\0" not in self._rest:
            ready = select.select([self._from], [], [], max(0, end - time.monotonic()))[0]
            got = os.read(self._from, 1 << 16) if ready else b""
            if not got:
                raise AssertionError("the browser does not answer")
            self._rest += got
        line, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(line)
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        elif message.get("method") == "Runtime.consoleAPICalled":
            self.console.append(str(message["params"]["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(message["params"]["exceptionDetails"]))
        elif message.get("method") == "Page.javascriptDialogOpening":
            self.console.append("dialog: " + message["params"]["message"])
            raise AssertionError(self.console[-1])
        return message

    def call(self, method, **params):
        self._next += 1
        number = self._next
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + LIMIT
        while True:
            reply = self._message(end)
            if reply.get("id") != number:
                continue
            if "error" in reply:
                raise AssertionError(f"{method}: {reply['error']}")
            return reply["result"]

    # --- what a person does ---------------------------------------------------------------------

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def size(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=phone)

    def media(self, **features):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def run(self, script):
        """The value of an expression in the page; a promise's when it is there."""
        reply = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(f"{script}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    def wait(self, script, seconds=LIMIT):
        end = time.monotonic() + seconds
        while True:
            value = self.run(script)
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {script}\n{self.run('document.body.innerText')}\n"
                                     f"{self.console}")
            time.sleep(0.02)

    def press(self, key, shift=False):
        event = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 if shift else 0}
        if key == "Enter":
            event["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        event.pop("text", None)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """With the mouse, where the element is; it must be the one that is hit there."""
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        x, y, is_hit = self.run(f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            node.scrollIntoView({{block: 'center'}});
            const box = node.getBoundingClientRect();
            const x = box.x + box.width / 2, y = box.y + box.height / 2;
            return [x, y, node.contains(document.elementFromPoint(x, y))];
        }})()""")
        assert is_hit, f"{selector} is covered or hidden"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


@contextlib.contextmanager
def browsing(chromium):
    with tempfile.TemporaryDirectory(prefix="jllm-page-", ignore_cleanup_errors=True) as folder:
        browser = Browser(chromium, folder)
        try:
            yield browser
        finally:
            browser.close()
