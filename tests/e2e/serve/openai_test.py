#!/usr/bin/env python3
"""OpenAI's own Python client, unmodified, against jllm serve with the bundled model, and against a server whose
model says what it is told, for calls of tools. Skipped (status 77) where the client is not installed.

usage: openai_test.py JLLM JLLMC MODEL.gguf WORK_FOLDER SCRIPTED_SERVER
"""
import asyncio
import json
import math
import os
import subprocess
import sys
import typing
import unittest

try:
    import openai
    import pydantic  # which openai stands on
except ImportError:
    print("skipped: python3 has no package openai (tools/test.sh installs it)")
    sys.exit(77)

from servers import serving

JLLM, JLLMC, MODEL, WORK, SCRIPTED = sys.argv[1:6]
PLAN = os.path.join(WORK, "openai_test.jllm")
VECTORS_PLAN = os.path.join(WORK, "openai_vectors_test.jllm")
TOOLS_PLAN = os.path.join(WORK, "openai_tools_test.jllm")
ANSWER_BEGINS = "Unplug it first and look inside."
USER = [{"role": "user", "content": "My lamp stays dark. What should I do?"}]
KEY = "the-key"
# ChatML with tools in the way of Hermes.
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<res>{{ m.content }}</res>"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{\"name\": \"{{ c.function.name }}\", \"arguments\": "
    "{{ c.function.arguments | tojson }}}</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}}}]
CALL = '<tool_call>{"name": "weather", "arguments": {"town": "%s"}}</tool_call>'


def compile_plan(plan, *options):
    return subprocess.run([JLLMC, "compile", MODEL, "--target", "host", "-o", plan, *options],
                          stdout=subprocess.DEVNULL, check=False).returncode == 0


def client_of(server, key=KEY, **options):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60, **options)


class Model(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert compile_plan(PLAN)
        cls._block = serving(JLLM, "serve", PLAN, "--port", "0", "--threads", "1", "--api-key", KEY,
                             "--max-body", "64K")
        cls.server = cls._block.__enter__()
        cls.client = client_of(cls.server)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        code = cls.server.end()
        cls._block.__exit__(None, None, None)
        assert code == 0, cls.server.log

    def chat(self, **more):
        return self.client.chat.completions.create(model=self.model, messages=USER,
                                                   **{"temperature": 0, **more})

    def test_chat(self):
        reply = self.chat()
        self.assertTrue(reply.choices[0].message.content.startswith(ANSWER_BEGINS))
        self.assertEqual(reply.choices[0].finish_reason, "stop")
        self.assertEqual(reply.usage.total_tokens,
                         reply.usage.prompt_tokens + reply.usage.completion_tokens)
        again = self.chat()
        self.assertEqual(again.choices[0].message.content, reply.choices[0].message.content)
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, 0)

    def test_stream(self):
        whole = self.chat().choices[0].message.content
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]), whole)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual(chunks[-2].choices[0].finish_reason, "stop")
        self.assertEqual(chunks[-1].usage.total_tokens, self.chat().usage.total_tokens)

    def test_stream_helper(self):
        with self.client.chat.completions.stream(model=self.model, messages=USER, temperature=0) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        self.assertTrue(final.choices[0].message.content.startswith(ANSWER_BEGINS))

    def test_several_at_once(self):
        async def all_of_them():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key=KEY, max_retries=0,
                                          timeout=60) as client:
                return await asyncio.gather(*[client.chat.completions.create(
                    model=self.model, messages=USER, temperature=0, max_tokens=10) for _ in range(6)])
        texts = {reply.choices[0].message.content for reply in asyncio.run(all_of_them())}
        self.assertEqual(len(texts), 1)

    def test_stop_logprobs_seed(self):
        reply = self.chat(stop=["first"], logprobs=True, top_logprobs=2)
        self.assertEqual(reply.choices[0].message.content, "Unplug it ")
        self.assertTrue(reply.choices[0].logprobs.content[0].top_logprobs[0].logprob <= 0)
        said = [self.chat(temperature=1.5, seed=7, max_tokens=20).choices[0].message.content
                for _ in range(2)]
        self.assertEqual(said[0], said[1])

    def test_json_of_a_schema(self):
        class Pet(pydantic.BaseModel):
            name: typing.Annotated[str, pydantic.Field(max_length=12)]
            legs: int
            colour: typing.Literal["red", "blue"]
            toys: typing.Annotated[list[str], pydantic.Field(max_length=2)]

        # The model knows nothing of JSON, and is drawn from wildly: only the mask makes it right.
        for seed in range(6):
            reply = self.client.chat.completions.parse(
                model=self.model, messages=USER, temperature=1.5, seed=seed, max_tokens=200, response_format=Pet)
            pet = reply.choices[0].message.parsed
            if reply.choices[0].finish_reason == "stop":
                self.assertIn(pet.colour, ("red", "blue"))
        # One token of a streamed answer at a time, beside free text in another request.
        chunks = self.chat(stream=True, max_tokens=60, temperature=1, seed=3, response_format={
            "type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [["a", 1], {"b": None}]}}})
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        self.assertIn(json.loads(text), (["a", 1], {"b": None}))

    def test_any_json_object(self):
        for seed in range(4):
            reply = self.chat(temperature=1, seed=seed, max_tokens=120, response_format={"type": "json_object"})
            text = reply.choices[0].message.content
            self.assertTrue(text.startswith("{"), text)
            if reply.choices[0].finish_reason == "stop":
                self.assertIsInstance(json.loads(text), dict)
        self.assertTrue(self.chat().choices[0].message.content.startswith(ANSWER_BEGINS))

    def test_completions(self):
        reply = self.client.completions.create(model=self.model, prompt="Tom was", max_tokens=5,
                                               temperature=0, logprobs=1)
        self.assertEqual(len(reply.choices[0].logprobs.tokens), 5)
        chunks = self.client.completions.create(model=self.model, prompt="Tom was", max_tokens=5,
                                                temperature=0, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), reply.choices[0].text)

    def test_errors(self):
        with client_of(self.server, "wrong") as client:
            with self.assertRaises(openai.AuthenticationError):
                client.models.list()
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(n=2)
        self.assertEqual(caught.exception.param, "n")
        with self.assertRaises(openai.NotFoundError):
            self.client.chat.completions.create(model="nothing", messages=USER)
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": "x" * 100000}])
        self.assertEqual(caught.exception.status_code, 413)

    def test_a_plan_of_text_makes_no_embeddings(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.embeddings.create(model=self.model, input="x")
        self.assertEqual(caught.exception.code, "makes_text")
        self.assertIn("--embedding last", str(caught.exception))

    def test_a_prompt_of_one_token(self):
        reply = self.client.completions.create(model=self.model, prompt=[0], max_tokens=4, temperature=0)
        said = subprocess.run([JLLM, "run", PLAN, "-p", "", "-n", "4", "-t", "0", "--json"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertEqual(reply.choices[0].text, json.loads(said.stdout)["text"])

    def test_stream_given_up(self):
        stream = self.chat(stream=True, temperature=1, max_tokens=400, extra_body={"ignore_end": True})
        next(iter(stream))
        stream.close()
        self.assertTrue(self.chat(max_tokens=3).choices[0].message.content)


class Embeddings(unittest.TestCase):
    TEXTS = ["My lamp stays dark.", "x", "Tom was a curious boy who liked machines.", "My lamp stays dark!"]

    @classmethod
    def setUpClass(cls):
        assert compile_plan(VECTORS_PLAN, "--embedding", "last", "--context", "64", "--slots", "2")
        cls._block = serving(JLLM, "serve", VECTORS_PLAN, "--port", "0", "--threads", "1")
        cls.server = cls._block.__enter__()
        cls.client = client_of(cls.server)
        cls.model = cls.client.models.list().data[0]

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        code = cls.server.end()
        cls._block.__exit__(None, None, None)
        assert code == 0, cls.server.log

    def vectors(self, texts, **more):
        reply = self.client.embeddings.create(model=self.model.id, input=texts, **more)
        self.assertEqual([one.index for one in reply.data], list(range(len(reply.data))))
        self.assertEqual(reply.usage.total_tokens, reply.usage.prompt_tokens)
        return [one.embedding for one in reply.data]

    def assert_close(self, one, other):
        # Whether a beginning was in the cache changes the order of sums; numbers are of order 0.1.
        self.assertEqual(len(one), len(other))
        self.assertLess(max(abs(a - b) for a, b in zip(one, other)), 1e-5)

    def test_one_and_many(self):
        many = self.vectors(self.TEXTS)
        for text, vector in zip(self.TEXTS, many):
            self.assertEqual(len(vector), self.model.embedding_length)
            self.assertAlmostEqual(math.fsum(x * x for x in vector), 1, places=5)
            self.assert_close(self.vectors(text)[0], vector)
        self.assertGreater(max(abs(a - b) for a, b in zip(many[0], many[3])), 1e-3)

    def test_formats(self):
        # The client asks for base64 where it is not told otherwise, and hands out floats all the same.
        for text in self.TEXTS:
            self.assert_close(self.vectors(text)[0], self.vectors(text, encoding_format="float")[0])
        raw = self.server.post("/v1/embeddings", {"input": "x", "encoding_format": "base64"})[1]
        self.assertIsInstance(raw["data"][0]["embedding"], str)

    def test_tokens(self):
        text = self.TEXTS[2]
        tokens = self.server.post("/tokenize", {"content": text, "add_special": True})[1]["tokens"]
        self.assert_close(self.vectors(tokens)[0], self.vectors(text)[0])
        both = self.vectors([tokens, tokens[:1]])
        self.assert_close(both[0], self.vectors(text)[0])
        self.assert_close(both[1], self.vectors(tokens[:1])[0])
        usage = self.client.embeddings.create(model=self.model.id, input=[tokens, tokens[:1]]).usage
        self.assertEqual(usage.prompt_tokens, len(tokens) + 1)

    def test_dimensions(self):
        whole, = self.vectors("x")
        few, = self.vectors("x", dimensions=8)
        length = math.sqrt(math.fsum(x * x for x in whole[:8]))
        self.assert_close(few, [x / length for x in whole[:8]])
        with self.assertRaises(openai.BadRequestError) as caught:
            self.vectors("x", dimensions=len(whole) + 1)
        self.assertEqual(caught.exception.param, "dimensions")

    def test_the_whole_context_and_not_one_token_more(self):
        self.vectors([[5] * 64])
        with self.assertRaises(openai.BadRequestError) as caught:
            self.vectors([[5] * 64, [5] * 65])
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        self.assertIn("Input 1 has 65 tokens; the plan's context takes 64", str(caught.exception))

    def test_several_at_once(self):
        async def all_of_them():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key=KEY, max_retries=0,
                                          timeout=60) as client:
                return await asyncio.gather(*[client.embeddings.create(
                    model=self.model.id, input=self.TEXTS[i % 4:]) for i in range(8)])
        expected = self.vectors(self.TEXTS)
        for i, reply in enumerate(asyncio.run(all_of_them())):
            for one, vector in zip(reply.data, expected[i % 4:]):
                self.assert_close(one.embedding, vector)

    def test_errors(self):
        for wrong in ("", [], [""], [[]], [10**9], ["x", ""]):
            with self.assertRaises(openai.BadRequestError, msg=wrong) as caught:
                self.vectors(wrong)
            self.assertEqual(caught.exception.param, "input")
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model="nothing", input="x")
        for make in (lambda: self.client.chat.completions.create(model=self.model.id, messages=USER),
                     lambda: self.client.completions.create(model=self.model.id, prompt="x")):
            with self.assertRaises(openai.BadRequestError) as caught:
                make()
            self.assertEqual(caught.exception.code, "makes_embeddings")
        self.assertEqual(self.server.request("GET", "/")[0], 404)  # there is nothing to chat with

    # Long enough that nobody waits for it to end.
    MANY = {"input": [[i % 2000] + [5] * 63 for i in range(2048)]}

    def test_a_client_that_goes_away(self):
        body = json.dumps(self.MANY).encode()
        cancelled = self.server.metric("jllm_cancelled_total")
        with self.server.connect() as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                               % len(body) + body)
            self.server.wait_until(lambda: self.server.get("/health")[1]["slots"]["busy"] == 1, "busy")
        self.server.wait_until(lambda: self.server.metric("jllm_cancelled_total") == cancelled + 1, "cancelled")
        self.assertEqual(len(self.vectors("x")), 1)

    def test_timeout(self):
        with serving(JLLM, "serve", VECTORS_PLAN, "--port", "0", "--threads", "1", "--timeout", "0.2") as server:
            status, reply = server.post("/v1/embeddings", self.MANY)
            self.assertEqual((status, reply["error"]["code"]), (503, "timeout"))
            self.assertEqual(server.post("/v1/embeddings", {"input": "x"})[0], 200)


class Tools(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        template = os.path.join(WORK, "tools.jinja")
        with open(template, "w", encoding="utf-8") as file:
            file.write(TEMPLATE)
        if subprocess.run([sys.executable, "-c", "import jinja2"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            raise unittest.SkipTest("python3 has no jinja2")
        assert compile_plan(TOOLS_PLAN, "--chat-format", template)

    def ask(self, server, messages=None, **more):
        with client_of(server) as client:
            reply = client.chat.completions.create(model="scripted", messages=messages or USER, tools=TOOLS,
                                                   **more)
            return list(reply) if more.get("stream") else reply

    def test_call_and_result(self):
        with serving(SCRIPTED, TOOLS_PLAN, 1, CALL % "Kiel", "It rains in Kiel.") as server:
            reply = self.ask(server)
            choice = reply.choices[0]
            self.assertEqual(choice.finish_reason, "tool_calls")
            self.assertIsNone(choice.message.content)
            call = choice.message.tool_calls[0]
            self.assertEqual((call.function.name, call.function.arguments), ("weather", '{"town": "Kiel"}'))
            # As clients do: the message goes back as it came, and the result behind it.
            messages = USER + [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
            final = self.ask(server, messages)
            self.assertEqual(final.choices[0].message.content, "It rains in Kiel.")
            self.assertIsNone(final.choices[0].message.tool_calls)
            self.assertEqual(server.end(), 0)

    def test_streamed_calls(self):
        said = "Let me look. " + CALL % "Kiel" + CALL % "Bonn"
        with serving(SCRIPTED, TOOLS_PLAN, 1, said) as server:
            text, calls, finish = "", {}, None
            for chunk in self.ask(server, stream=True):
                delta = chunk.choices[0].delta
                text += delta.content or ""
                for call in delta.tool_calls or []:
                    calls[call.index] = (call.id, call.function.name, call.function.arguments)
                finish = chunk.choices[0].finish_reason or finish
            self.assertEqual(text, "Let me look. ")
            self.assertEqual([calls[i][2] for i in range(2)], ['{"town": "Kiel"}', '{"town": "Bonn"}'])
            self.assertEqual(len({calls[i][0] for i in range(2)}), 2)
            self.assertEqual(finish, "tool_calls")
            only = self.ask(server, parallel_tool_calls=False).choices[0].message
            self.assertEqual(len(only.tool_calls), 1)

    def test_what_is_no_call(self):
        broken = '<tool_call>{"name": "weather", "arg'
        with serving(SCRIPTED, TOOLS_PLAN, 1, broken, CALL % "Kiel") as server:
            choice = self.ask(server).choices[0]
            self.assertEqual((choice.message.content, choice.finish_reason), (broken, "stop"))
            # Without tools nothing is a call.
            choice = self.ask(server, tool_choice="none").choices[0]
            self.assertEqual(choice.message.content, CALL % "Kiel")

    def test_slots(self):
        """Several texts at once, each with an answer of its own."""
        async def all_of_them(url):
            async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0,
                                          timeout=60) as client:
                return await asyncio.gather(*[client.chat.completions.create(
                    model="scripted", messages=USER) for _ in range(8)])
        replies = [f"This is the answer with the number {i}, and it is not short." for i in range(8)]
        with serving(SCRIPTED, TOOLS_PLAN, 4, *replies) as server:
            got = [reply.choices[0].message.content for reply in asyncio.run(all_of_them(server.url))]
        self.assertEqual(sorted(got), replies)


# What stands around a call, and the name of its arguments, in each family's way.
FAMILIES = {"hermes": ('<tool_call>{"name": "', '", "arguments": ', "}</tool_call>"),
            "llama3": ('{"name": "', '", "parameters": ', "}"),
            "mistral": ('[TOOL_CALLS][{"name": "', '", "arguments": ', "}]")}
HERMES_CALL = "<tool_call>{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}</tool_call>"


def function(name, **properties):
    parameters = {"parameters": {"type": "object", "properties": properties, "required": [*properties]}} if properties else {}
    return {"type": "function", "function": {"name": name, **parameters}}


# The model's context is small: few tools at a time.
STOP = function("stop")
WEATHER = [function("weather", town={"type": "string", "maxLength": 9}), STOP]
PAINT = [STOP, function("paint", colour={"enum": ["red", "blue"]}, coats={"type": "integer"},
                        frame={"type": "array", "items": {"type": "boolean"}, "maxItems": 2})]


class Weather(pydantic.BaseModel, extra="forbid"):
    town: typing.Annotated[str, pydantic.Field(max_length=9)]


class Paint(pydantic.BaseModel, extra="forbid", strict=True):
    colour: typing.Literal["red", "blue"]
    coats: int
    frame: typing.Annotated[list[bool], pydantic.Field(max_length=2)]


class Stop(pydantic.BaseModel, extra="forbid"):
    pass


class ForcedCalls(unittest.TestCase):
    """The bundled model knows nothing of tools, and is drawn from wildly: only the mask makes calls of its texts."""

    def check(self, call):
        kinds = {"weather": Weather, "paint": Paint, "stop": Stop}
        self.assertIn(call.function.name, kinds)
        kinds[call.function.name].model_validate_json(call.function.arguments)

    def of_stream(self, chunks, seed):
        text, calls, finish = "", [], None
        for chunk in chunks:
            text += chunk.choices[0].delta.content or ""
            calls += chunk.choices[0].delta.tool_calls or []
            finish = chunk.choices[0].finish_reason or finish
        self.assertEqual((text, len(calls), finish), ("", 1, "tool_calls"), seed)
        return calls[0]

    def test_every_family(self):
        if subprocess.run([sys.executable, "-c", "import jinja2"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("python3 has no jinja2")
        for family, (before, between, after) in FAMILIES.items():
            with self.subTest(family=family):
                name = os.path.join(WORK, "forced_" + family)
                with open(name + ".jinja", "w", encoding="utf-8") as file:
                    assert HERMES_CALL in TEMPLATE
                    file.write(TEMPLATE.replace(
                        HERMES_CALL, before + "{{ c.function.name }}" + between + "{{ c.function.arguments | tojson }}" + after))
                assert compile_plan(name + ".jllm", "--slots", "2", "--chat-format", name + ".jinja")
                with serving(JLLM, "serve", name + ".jllm", "--port", "0", "--threads", "1") as server:
                    self.force(server)
                    self.assertEqual(server.end(), 0)

    def force(self, server):
        with client_of(server) as client:
            model = client.models.list().data[0].id

            def ask(choice, tools=WEATHER, seed=1, **more):
                return client.chat.completions.create(**{
                    "model": model, "messages": USER, "tools": tools, "tool_choice": choice, "temperature": 1,
                    "seed": seed, **more})
            for seed in range(8):
                choice = ask("required", seed=seed).choices[0]
                self.assertEqual(choice.finish_reason, "tool_calls")
                self.assertIsNone(choice.message.content)
                self.assertEqual(len(choice.message.tool_calls), 1)
                self.check(choice.message.tool_calls[0])
                streamed = self.of_stream(ask("required", seed=seed, stream=True), seed)
                self.assertEqual(streamed.function.to_dict(), choice.message.tool_calls[0].function.to_dict())
            for name in ("paint", "stop"):
                named = {"type": "function", "function": {"name": name}}
                for seed in range(3):
                    choice = ask(named, PAINT, seed, parallel_tool_calls=seed > 0).choices[0]
                    self.assertEqual(choice.finish_reason, "tool_calls")
                    self.assertEqual([call.function.name for call in choice.message.tool_calls], [name])
                    self.check(choice.message.tool_calls[0])
            # The conversation goes on with it.
            result = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "done"}
            answer = ask("none", messages=USER + [choice.message, result], temperature=0, max_tokens=5)
            self.assertEqual(answer.usage.completion_tokens, 5)
            for choice in ("auto", "none"):
                message = ask(choice, temperature=0).choices[0].message
                self.assertIsNone(message.tool_calls)
                self.assertTrue(message.content)
            cut = ask(named, PAINT, max_tokens=3).choices[0]
            self.assertEqual((cut.finish_reason, cut.message.tool_calls), ("length", None))
            for choice, tools, words in ((named, WEATHER[:1], "stop"), ("required", openai.NOT_GIVEN, "tools"),
                                         ("always", WEATHER, "required"),
                                         ("required", [function("f", x={"type": "string", "pattern": "a"})], "pattern")):
                with self.assertRaises(openai.BadRequestError) as caught:
                    ask(choice, tools)
                self.assertIn(words, caught.exception.message)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[6:], verbosity=2)
