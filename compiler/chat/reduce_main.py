"""The end of the program that reduce.py begins.

stdin: {"template": ..., "bos_token": ..., "eos_token": ...}. stdout: one JSON document, either
{"refused": reason} or {"grammar": ..., "probes": [...], "tool_probes": [...]}. The grammar is guessed from
renders of marked texts; whether it is right is for the reader to prove, by filling in the probes and comparing.
"""


def main():
    request = json.load(sys.stdin)
    try:
        import jinja2  # noqa: F401
    except ImportError:
        print(json.dumps({"missing": f"{sys.executable} has no jinja2"}))
        return
    try:
        template = Template(request)
        grammar = Reducer(template).reduce()
        with_tools = list(tool_probes(template)) if grammar["tools"] else []
        json.dump({"grammar": grammar, "probes": list(probes(template)), "tool_probes": with_tools}, sys.stdout)
    except Exception as error:  # whatever a template does wrong is a reason not to use it
        json.dump({"refused": f"{type(error).__name__}: {error}"}, sys.stdout)


if __name__ == "__main__":
    main()
