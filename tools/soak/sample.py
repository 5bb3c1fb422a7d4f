"""What is measured every few seconds: the server's memory, the machine's, temperatures, and the server's own counters."""
import glob
import os
import re
import shutil
import subprocess
import urllib.request

ROOT = os.environ.get("JLLM_SYSFS_ROOT", "")
COLUMNS = ("seconds", "resident_kib", "anonymous_kib", "descriptors", "threads", "available_kib", "nvmap_kib", "gpu_mib",
           "hottest_celsius", "generated_tokens", "tokens_per_second", "requests", "busy_replies", "errors")


def read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def field(text, name):
    """The number behind `name:` in a file of /proc, None where it is not."""
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def hottest():
    celsius = []
    for path in glob.glob(f"{ROOT}/sys/class/thermal/thermal_zone*/temp"):
        text = read(path).strip()
        # Sensors that are switched off say -256000 or fail.
        if re.fullmatch(r"-?\d+", text) and -40000 < int(text) < 200000:
            celsius.append(int(text) / 1000)
    return max(celsius, default=None)


class Sampler:
    """`pid` is the server's, None where it is another machine's user's: then its own figure of its memory is taken."""

    def __init__(self, url, pid, key=""):
        self.url, self.pid = url, pid
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A Jetson's nvidia-smi is a stub; there NvMapMemUsed tells.
        self.smi = shutil.which("nvidia-smi")
        self.last = None

    def metrics(self):
        """Sums of the server's metrics by name; {} where it does not answer."""
        try:
            request = urllib.request.Request(self.url + "/metrics", headers=self.headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                text = reply.read().decode()
        except OSError:
            return {}
        sums = {}
        for name, value in re.findall(r"^(\w+)(?:\{.*\})? ([-+0-9.eE]+)$", text, re.MULTILINE):
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def gpu(self):
        if not self.smi:
            return None
        command = [self.smi, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        try:
            text = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return None
        used = [int(mib) for pid, mib in re.findall(r"^(\d+), (\d+)$", text, re.MULTILINE)
                if self.pid is None or int(pid) == self.pid]
        return sum(used) if used else None

    def row(self, seconds, load):
        metrics = self.metrics()
        status = read(f"/proc/{self.pid}/status") if self.pid else ""
        memory = read(f"{ROOT}/proc/meminfo")
        resident = field(status, "VmRSS")
        if resident is None and "jllm_resident_bytes" in metrics:
            resident = metrics["jllm_resident_bytes"] / 1024
        descriptors = None
        if self.pid:
            try:
                descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
            except OSError:
                pass
        tokens = metrics.get("jllm_generated_tokens_total")
        rate = None
        if tokens is not None:
            if self.last and seconds > self.last[0]:
                rate = round((tokens - self.last[1]) / (seconds - self.last[0]), 2)
            self.last = (seconds, tokens)
        return dict(zip(COLUMNS, (
            round(seconds, 2), resident, field(status, "RssAnon"), descriptors, field(status, "Threads"),
            field(memory, "MemAvailable"), field(memory, "NvMapMemUsed"), self.gpu(), hottest(), tokens, rate,
            load.requests, load.busy, load.errors)))
