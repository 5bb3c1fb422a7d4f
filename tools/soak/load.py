"""Clients that keep the server busy with requests of many kinds, wrong ones and broken-off ones among them."""
import collections
import http.client
import json
import random
import threading

TOPICS = ("a lamp that stays dark", "an old barn", "a boy and his dog", "rain on the roof", "a broken chair", "the sea")
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Load:
    """Counts what its threads see. A reply that is none of those expected is an error, the first of which are kept."""

    KEPT = 20

    def __init__(self, port, clients, seed, key="", timeout=300):
        self.port, self.timeout, self.key = port, timeout, key
        self.requests = self.busy = self.errors = 0
        self.kinds = collections.Counter()
        self.messages = []
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._client, args=(random.Random(seed + i),), daemon=True)
                        for i in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self, seconds):
        """False: some request was not answered in that time."""
        self.ending.set()
        for thread in self.threads:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self.threads)

    def _client(self, rng):
        kinds = (self.chat, self.streamed_chat, self.conversation, self.text, self.left_stream, self.tokens, self.looks,
                 self.wrong)
        weights = (4, 6, 3, 4, 2, 1, 1, 1)
        while not self.ending.is_set():
            kind = rng.choices(kinds, weights)[0]
            try:
                why = kind(rng)
            except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
                why = f"{type(error).__name__}: {error}"
            with self.lock:
                self.requests += 1
                self.kinds[kind.__name__] += 1
                if why is not None and not self.ending.is_set():
                    self.errors += 1
                    if len(self.messages) < self.KEPT:
                        self.messages.append(f"{kind.__name__}: {why}")
            if why is not None:
                self.ending.wait(1)  # a server that is gone is not asked a thousand times a second

    # --- one request --------------------------------------------------------------------------------

    def open(self, method, path, body):
        """(connection, reply); a full queue is waited for as its reply says."""
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            headers = {"Content-Type": "application/json"}
            if self.key:
                headers["Authorization"] = f"Bearer {self.key}"
            connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers)
            reply = connection.getresponse()
            if reply.status != 429 or self.ending.is_set():
                return connection, reply
            reply.read()
            connection.close()
            with self.lock:
                self.busy += 1
            self.ending.wait(min(5.0, float(reply.getheader("Retry-After") or 1)))

    def ask(self, method, path, body=None, expected=200):
        """(why it is wrong or None, the reply's text)"""
        connection, reply = self.open(method, path, body)
        try:
            text = reply.read().decode("utf-8", "replace")
        finally:
            connection.close()
        return (None if reply.status == expected else f"{path}: {reply.status}: {text[:200]}"), text

    # --- kinds: each returns what is wrong, or None -------------------------------------------------

    def chat(self, rng):
        why, text = self.ask("POST", CHAT, {
            "messages": [{"role": "user", "content": f"Tell me about {rng.choice(TOPICS)}."}],
            "max_tokens": rng.randint(4, 48), "temperature": rng.choice((0, 0.7, 1.2))})
        return why or (None if json.loads(text)["choices"][0]["finish_reason"] else "no finish_reason")

    def streamed_chat(self, rng):
        connection, reply = self.open("POST", CHAT, {
            "messages": [{"role": "system", "content": "You are brief."},
                         {"role": "user", "content": f"A story of {rng.choice(TOPICS)}, please."}],
            "max_tokens": rng.randint(8, 64), "stream": True})
        try:
            text = reply.read().decode("utf-8", "replace")
        finally:
            connection.close()
        if reply.status != 200:
            return f"{reply.status}: {text[:200]}"
        return None if text.rstrip().endswith("data: [DONE]") else f"the stream ends with {text[-80:]!r}"

    def conversation(self, rng):
        """Three turns, of which each begins as the one before."""
        messages = []
        for _ in range(3):
            messages.append({"role": "user", "content": f"What about {rng.choice(TOPICS)}?"})
            why, text = self.ask("POST", CHAT, {"messages": messages, "max_tokens": 16})
            if why or self.ending.is_set():
                return why
            messages.append({"role": "assistant", "content": json.loads(text)["choices"][0]["message"]["content"] or ""})
        return None

    def text(self, rng):
        why, text = self.ask("POST", TEXT, {
            "prompt": "One day " * rng.choice((1, 1, 8, 24)), "max_tokens": rng.randint(1, 40), "seed": rng.randrange(1000),
            "stop": ["\n\n"], "logprobs": rng.choice((None, 2))})
        return why or (None if json.loads(text)["usage"]["completion_tokens"] >= 0 else "no usage")

    def left_stream(self, rng):
        """Goes away in the middle of an answer."""
        connection, reply = self.open("POST", CHAT, {
            "messages": [{"role": "user", "content": f"Everything about {rng.choice(TOPICS)}."}],
            "max_tokens": 200, "stream": True})
        try:
            reply.read(rng.randint(1, 400))
        finally:
            connection.close()
        return None if reply.status == 200 else f"{reply.status}"

    def tokens(self, rng):
        return self.ask("POST", "/tokenize", {"content": f"About {rng.choice(TOPICS)} " * rng.randint(1, 50)})[0]

    def looks(self, rng):
        return self.ask("GET", rng.choice(("/health", "/v1/models", "/metrics")))[0]

    def wrong(self, rng):
        path, body = rng.choice(((CHAT, b"{\"messages\": ["), (CHAT, {"messages": []}), (TEXT, {"prompt": "a", "n": 7}),
                                 (TEXT, {"prompt": "word " * 20000})))
        return self.ask("POST", path, body, expected=400)[0]
