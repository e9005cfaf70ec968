"""Sampling through an OpenAI-compatible server: a vLLM of one's own, or a vendor.

One request per text, so that more samples or more users cost only what is new. Every answer goes into the store as it
comes, so a killed stage goes on where it was and nothing is paid for twice.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from rlrf4rec import store
from rlrf4rec.errors import FetchError, ParamsError, RLRFError
from rlrf4rec.files import fingerprint
from rlrf4rec.params import Endpoint, Sample
from rlrf4rec.progress import Progress

KEY = "ENDPOINT_API_KEY"  # environment variable; never a param, never in a log
BACKOFF = 0.5  # seconds before the second try; doubled each time, unless the server names a time itself
BUSY = (408, 409, 429, 500, 502, 503, 504)
MILLION = 1e6
LACKS = (
    "a server gives no log-probabilities of the policy, so `pair` refuses to tune on these texts, and need not keep to "
    "a seed, so only the answers that are kept repeat"
)
ANSWERS: dict[str, Any] = {
    "prompt": pl.String,
    "sample": pl.Int64,
    "redraws": pl.Int64,
    "text": pl.String,
    "stop": pl.String,
    "answer": pl.String,
}


@dataclass(frozen=True)
class Request:
    """A text that is wanted: its prompt and sample index, and how often it was drawn before."""

    prompt: str
    sample: int
    redraws: int = 0


@dataclass
class Client:
    """A server, the name of its model, and how texts are asked for."""

    endpoint: Endpoint
    model: str
    sample: Sample
    seed: int
    session: requests.Session = field(init=False)
    kept: int = field(init=False, default=0)  # texts of the last `sample_texts` that were there before

    def __post_init__(self) -> None:
        retry = Retry(
            total=self.endpoint.retries,
            backoff_factor=BACKOFF,
            status_forcelist=BUSY,
            allowed_methods=None,
            raise_on_status=False,
        )
        self.session = requests.Session()
        adapter = HTTPAdapter(max_retries=retry, pool_maxsize=self.endpoint.concurrency)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, adapter)
        if key := os.environ.get(KEY):
            self.session.headers["Authorization"] = f"Bearer {key}"

    def identity(self) -> str:
        """Names in the store what decides an answer; how it is carried is no part of it."""
        s = self.sample
        settings = s.temperature, s.top_k, s.top_p, s.max_tokens, s.stop
        return fingerprint([self.endpoint.url, self.endpoint.api, self.model, settings, self.seed, self.sample.redraws])

    def ask(self, task: Request) -> dict[str, Any]:
        """The row of ANSWERS of one text; FetchError with the server's own words when there is none."""
        name = _name(task.prompt)
        drawn = f"{self.seed} {name} {task.sample} {task.redraws}"
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": self.sample.temperature,
            "top_p": self.sample.top_p,
            "max_tokens": self.sample.max_tokens,
            "stop": self.sample.stop,
            "seed": int(hashlib.sha256(drawn.encode()).hexdigest()[:7], 16),
        }
        if self.sample.top_k:  # vLLM knows it, OpenAI's own server refuses it
            body["top_k"] = self.sample.top_k
        if self.endpoint.api == "chat":
            answer = self._post("chat/completions", {**body, "messages": [{"role": "user", "content": task.prompt}]})
        else:
            answer = self._post("completions", {**body, "prompt": task.prompt})
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] if self.endpoint.api == "chat" else choice["text"]
            stop = "stop" if choice["finish_reason"] == "stop" else "length"
            for ending in self.sample.stop:  # a server may give the stop text back
                text = text.split(ending)[0] if text.strip(ending) else text
        except (KeyError, IndexError, TypeError, AttributeError):
            raise FetchError(f"{self._where()}: not an answer of this API: {_short(json.dumps(answer))}") from None
        whole = json.dumps(answer, ensure_ascii=False, sort_keys=True)
        row = {"prompt": name, "sample": task.sample, "redraws": task.redraws}
        return {**row, "text": text.strip(), "stop": stop, "answer": whole}

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        url = f"{self.endpoint.url.rstrip('/')}/{path}"
        try:
            response = self.session.post(url, json=body, timeout=self.endpoint.timeout)
        except requests.RequestException as error:
            tries = self.endpoint.retries + 1
            raise FetchError(f"{self._where()}: no answer after {tries} tries ({error}); is it running?") from None
        if response.status_code in (401, 403):
            raise FetchError(f"{self._where()}: status {response.status_code}; set {KEY} to a key that it takes")
        if not response.ok:
            raise FetchError(f"{self._where()}: status {response.status_code}: {_short(response.text)}")
        try:
            return response.json()
        except requests.JSONDecodeError:
            raise FetchError(f"{self._where()}: not JSON: {_short(response.text)}") from None

    def _where(self) -> str:
        return f"endpoint {self.endpoint.url}, model {self.model}"


def _name(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


def cost(endpoint: Endpoint, prompt_tokens: int, texts: int, max_tokens: int) -> float:
    """At most what the texts cost, in the currency of `endpoint.price`: every one of full length, none drawn again."""
    new = texts * max_tokens
    return (prompt_tokens * endpoint.price.prompt + new * endpoint.price.completion) / MILLION


def sample_texts(client: Client, prompts: pl.DataFrame, what: str) -> tuple[pl.DataFrame, int]:
    """N texts of each prompt, and how many answers were asked for now; `client.kept` texts were in the store.

    prompts: table with `prompt` and `tokens`. The result has row, sample, text, stop, redraws, answer (the server's
    JSON), ordered by row and sample. ParamsError when it would cost more than `endpoint.max_cost`.
    """
    shelf = store.Rows("answers", client.identity(), ["prompt", "sample", "redraws"])
    known = shelf.load()
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    if known is not None:
        found = {(r["prompt"], r["sample"], r["redraws"]): r for r in known.iter_rows(named=True)}
    wanted = [
        Request(prompt, i) for prompt in prompts["prompt"].unique(maintain_order=True) for i in range(client.sample.n)
    ]
    missing = [task for task in wanted if (_name(task.prompt), task.sample, 0) not in found]
    tokens = dict(prompts.select("prompt", pl.col("tokens").list.len()).iter_rows())
    there = set(found)
    _tell_cost(client, sum(tokens[task.prompt] for task in missing), len(missing), what)
    asked = 0
    progress = Progress(len(missing), what)
    todo = wanted
    for attempt in range(client.sample.redraws + 1):
        todo = [Request(task.prompt, task.sample, attempt) for task in todo]
        new = [task for task in todo if (_name(task.prompt), task.sample, attempt) not in found]
        for row in _answers(client, new):
            shelf.add(pl.DataFrame([row], schema=ANSWERS))
            found[row["prompt"], row["sample"], row["redraws"]] = row
            asked += 1
            if attempt == 0:
                progress.advance()
        shelf.flush()
        todo = [task for task in todo if not found[_name(task.prompt), task.sample, attempt]["text"]]
    progress.close()
    if todo:
        raise RLRFError(
            f"{what}: {len(todo)} answer(s) stayed empty after {client.sample.redraws} redraws; "
            "look at the prompt, or raise sample.redraws or sample.temperature"
        )
    last = {(name, i): row for (name, i, _), row in sorted(found.items(), key=lambda entry: entry[0])}
    rows = [
        {"row": row, **last[_name(prompt), i]}
        for row, prompt in enumerate(prompts["prompt"])
        for i in range(client.sample.n)
    ]
    client.kept = sum((row["prompt"], row["sample"], row["redraws"]) in there for row in rows)
    return pl.DataFrame(rows, schema={"row": pl.Int64, **ANSWERS}).drop("prompt"), asked


def _answers(client: Client, tasks: list[Request]) -> Iterable[dict[str, Any]]:
    """Rows of ANSWERS as they come, at most `endpoint.concurrency` requests at once."""
    pool = ThreadPoolExecutor(client.endpoint.concurrency)
    try:
        for done in as_completed([pool.submit(client.ask, task) for task in tasks]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _tell_cost(client: Client, prompt_tokens: int, texts: int, what: str) -> None:
    """Print what will be asked and at most paid, and what no server gives; ParamsError above `endpoint.max_cost`."""
    endpoint, most = client.endpoint, client.sample.max_tokens
    price = cost(endpoint, prompt_tokens, texts, most)
    work = f"{texts} texts of {client.model}, {prompt_tokens} prompt tokens and at most {texts * most} new ones"
    print(f"{what}: {work}, at most {price:.2f} by endpoint.price", flush=True)
    print(f"{what}: {LACKS}", flush=True)
    if endpoint.max_cost is not None and price > endpoint.max_cost:
        raise ParamsError(f"{what}: {work} cost up to {price:.2f}, more than endpoint.max_cost = {endpoint.max_cost}")
