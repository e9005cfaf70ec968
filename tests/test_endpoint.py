"""A server on this machine that speaks the API, well and badly."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest
from good_tables import prompt_row
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from rlrf4rec import paths
from rlrf4rec.errors import FetchError, ParamsError, RLRFError
from rlrf4rec.params import Endpoint, Llm, Sample
from rlrf4rec.serving import endpoint
from rlrf4rec.stages import sample
from rlrf4rec.tables.split import FOLD_USERS
from rlrf4rec.tables.texts import PROMPTS as PROMPT_TABLE

PROMPTS = pl.DataFrame(
    {"prompt": ["Taste of a:", "Taste of b:", "Taste of a:"], "tokens": [[5] * n for n in (10, 20, 10)]}
)


class Server(ThreadingHTTPServer):
    """Answers `text of PROMPT, SEED`; keeps what it was asked, and how many at once at most."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.headers_seen, self.refusals = [], [], []
        self.now = self.most = 0
        self.delay, self.answer = 0.0, None
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            server.asked.append((self.path, body))
            server.headers_seen.append(dict(self.headers))
            refusal = server.refusals.pop(0) if server.refusals else None
        time.sleep(server.delay)
        if refusal == "hang up":
            self.close_connection = True
        else:
            status, content = (refusal, "slow down, please") if refusal else (200, self.good(body))
            content = content.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)
        with server.lock:
            server.now -= 1

    def good(self, body):
        if self.server.answer is not None:
            return self.server.answer(body)
        prompt = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        text = f" text of {prompt} {body['seed']}\nmore"
        choice = {"finish_reason": "stop", "text": text, "message": {"role": "assistant", "content": text}}
        return json.dumps({"id": "x", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 4}})

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(endpoint, "BACKOFF", 0.0)
    monkeypatch.delenv(endpoint.KEY, raising=False)
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def sampling(**changes):
    given = {"n": 2, "temperature": 1.0, "top_k": 0, "top_p": 0.9, "max_tokens": 8, "stop": ["\n"], "redraws": 1}
    return Sample(**{**given, "batch_users": 1, "dtype": "float32", **changes})


def client(server, sample=None, seed=7, **changes):
    given = {"policies": {"base": "m"}, "api": "completions", "concurrency": 3, "retries": 2, "timeout": 5.0}
    price = {"prompt": 0.0, "completion": 0.0}
    settings = Endpoint(**{"url": server.url, "price": price, "max_cost": None, **given, **changes})
    return endpoint.Client(settings, "m", sample or sampling(), seed)


def test_n_texts_of_each_prompt_in_order_and_every_answer_is_kept(server):
    texts, asked = endpoint.sample_texts(client(server), PROMPTS, "sample base")
    assert texts.select("row", "sample").rows() == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert asked == 4  # equal prompts are asked once
    assert texts["text"][0].startswith("text of Taste of a: ")
    assert "more" not in texts["text"][0]  # cut at the stop text
    assert texts["text"][0] == texts["text"][4]
    assert texts["text"].n_unique() == 4
    assert json.loads(texts["answer"][0])["usage"]["completion_tokens"] == 4
    path, body = server.asked[0]
    assert path == "/v1/completions"
    assert {k: body[k] for k in ("model", "temperature", "top_p", "max_tokens", "stop")} == {
        "model": "m",
        "temperature": 1.0,
        "top_p": 0.9,
        "max_tokens": 8,
        "stop": ["\n"],
    }


def test_the_same_seed_asks_for_the_same_and_another_for_another(server, state):
    seeds = []
    for seed in (7, 7, 8):
        server.asked.clear()
        for shelf in (state / ".rlrf4rec").rglob("*.parquet"):
            shelf.unlink()
        endpoint.sample_texts(client(server, seed=seed), PROMPTS, "s")
        seeds.append(sorted(body["seed"] for _, body in server.asked))
    assert seeds[0] == seeds[1] != seeds[2]


def test_chat_sends_a_message(server):
    texts, _ = endpoint.sample_texts(client(server, api="chat"), PROMPTS, "s")
    path, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body["messages"][0]["role"] == "user"
    assert texts["text"][0].startswith("text of Taste of a: ")


def test_more_samples_and_more_prompts_ask_only_for_what_is_new(server):
    endpoint.sample_texts(client(server), PROMPTS[:1], "s")
    first = len(server.asked)
    again, asked = endpoint.sample_texts(client(server), PROMPTS[:1], "s")
    assert (first, asked, len(server.asked)) == (2, 0, 2)
    more, asked = endpoint.sample_texts(client(server, sampling(n=3)), PROMPTS[:2], "s")
    assert asked == 4
    assert more.filter(row=0, sample=1)["text"].to_list() == again.filter(sample=1)["text"].to_list()


@pytest.mark.parametrize("refusals", [[429, 503], ["hang up", 500]])
def test_a_busy_server_and_a_lost_connection_are_tried_again(server, refusals):
    server.refusals = list(refusals)
    texts, asked = endpoint.sample_texts(client(server, concurrency=1), PROMPTS[:1], "s")
    assert texts.height == asked == 2
    assert len(server.asked) == 4


def test_retries_end_with_the_servers_words_and_what_came_is_kept(server):
    limited = client(server, concurrency=1)
    endpoint.sample_texts(limited, PROMPTS[:1], "s")
    server.refusals = [503] * 3
    with pytest.raises(FetchError, match=r"model m: status 503: slow down, please"):
        endpoint.sample_texts(limited, PROMPTS, "s")
    server.refusals = []
    assert endpoint.sample_texts(limited, PROMPTS, "s")[1] == 2


def test_no_server_is_named(server):
    gone = client(server, url="http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(FetchError, match=r"http://127.0.0.1:9/v1, model m: no answer after 2 tries .*is it running"):
        endpoint.sample_texts(gone, PROMPTS, "s")


def test_at_most_so_many_requests_run_at_once(server):
    server.delay = 0.05
    endpoint.sample_texts(client(server, sampling(n=6), concurrency=3), PROMPTS, "s")
    assert server.most == 3


def test_the_key_comes_from_the_environment_and_is_in_no_error(server, monkeypatch):
    monkeypatch.setenv(endpoint.KEY, "very-secret-key")
    server.refusals = [401]
    with pytest.raises(FetchError, match=r"status 401; set ENDPOINT_API_KEY") as error:
        endpoint.sample_texts(client(server, concurrency=1), PROMPTS, "s")
    assert server.headers_seen[0]["Authorization"] == "Bearer very-secret-key"
    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [("{}", "not an answer of this API: {}"), ('{"choices": []}', "not an answer"), ("<html>", "not JSON: <html>")],
)
def test_what_is_no_answer_is_shown(server, answer, words):
    server.answer = lambda body: answer
    with pytest.raises(FetchError, match=words):
        endpoint.sample_texts(client(server), PROMPTS, "s")


def test_empty_answers_are_asked_again_and_then_an_error(server):
    def empty(seeds):
        def answer(body):
            text = " \n" if body["seed"] in seeds else "words"
            return json.dumps({"choices": [{"text": text, "finish_reason": "length"}]})

        return answer

    server.answer = empty(set())
    endpoint.sample_texts(client(server, seed=1), PROMPTS[:1], "s")
    first = {body["seed"] for _, body in server.asked}
    server.answer = empty(first)
    other = client(server, sampling(temperature=0.9), seed=1)
    texts, asked = endpoint.sample_texts(other, PROMPTS[:1], "s")
    assert asked == 4
    assert texts["redraws"].to_list() == [1, 1]
    assert texts["stop"].to_list() == ["length", "length"]
    server.answer = lambda body: json.dumps({"choices": [{"text": "", "finish_reason": "stop"}]})
    with pytest.raises(RLRFError, match=r"4 answer\(s\) stayed empty after 1 redraws"):
        endpoint.sample_texts(client(server, seed=3), PROMPTS, "s")


def test_the_cost_is_told_and_too_much_is_refused_before_anything_is_asked(server, capsys):
    price = {"prompt": 100_000.0, "completion": 1_000_000.0}
    # 4 texts: prompts of 10, 10, 20, 20 tokens, and 8 new tokens each: 60 * 0.1 + 32 * 1
    with pytest.raises(ParamsError, match=r"cost up to 38.00, more than endpoint.max_cost = 37.9"):
        endpoint.sample_texts(client(server, price=price, max_cost=37.9), PROMPTS, "s")
    assert server.asked == []
    endpoint.sample_texts(client(server, price=price, max_cost=38.0), PROMPTS, "s")
    told = "s: 4 texts of m, 60 prompt tokens and at most 32 new ones, at most 38.00 by endpoint.price"
    printed = capsys.readouterr().out
    assert told in printed
    assert "s: a server gives no log-probabilities of the policy, so `pair` refuses to tune on these texts" in printed
    assert "need not keep to a seed" in printed


def test_the_stage_writes_texts_and_answers_of_a_policy_that_is_served(server, tmp_path, monkeypatch):
    """Tokens are those of the local tokenizer, the stop token among them where the answer stopped."""
    monkeypatch.chdir(tmp_path)
    vocabulary = {word: i for i, word in enumerate(["?", "dark", "films", "\n"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, "?"))
    tokenizer.pre_tokenizer = Split(" ", "removed")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="?").save_pretrained(paths.LLM)
    rows = [prompt_row(user, *row) for user, row in zip("uv", PROMPTS.rows(), strict=False)]
    PROMPT_TABLE.write(pl.DataFrame(rows), paths.PROMPTS)
    about = pl.DataFrame(
        {"user": ["u", "v", "w"], "fold": ["train", "development", "development"], "role": ["tune", "none", "none"]}
    )
    FOLD_USERS.write(about.with_columns(half=pl.Series(["A", "-", "-"])), paths.FOLD_USERS)
    server.answer = lambda body: json.dumps(
        {"choices": [{"text": " dark films", "finish_reason": "stop" if body["prompt"].endswith("a:") else "length"}]}
    )
    llm = Llm(device="cpu", quantization="none", trust_remote_code=None)
    line = sample.run(5, sampling(), llm, client(server).endpoint, "base", "base", "all")
    assert "4 texts of 2 users, 4 sampled now" in line
    texts = pl.read_parquet(paths.texts("base"))
    assert texts["text"].to_list() == ["dark films"] * 4
    assert texts.filter(user="u", sample=0)["tokens"].to_list() == [[1, 2, 3]]
    assert texts.filter(user="v", sample=0)["tokens"].to_list() == [[1, 2]]
    assert texts["stop"].to_list() == ["stop", "stop", "length", "length"]
    line = sample.run(5, sampling(), llm, client(server).endpoint, "of_v", "base", "evaluated")
    assert "2 texts of 1 users, 0 sampled now, 2 kept from before; 0 redrawn" in line
    assert pl.read_parquet(paths.texts("of_v")).equals(texts.filter(user="v"))
    answers = pl.read_parquet(paths.answers("base"))
    assert answers.select("user", "sample").rows() == [("u", 0), ("u", 1), ("v", 0), ("v", 1)]
    assert json.loads(answers["answer"][0])["choices"][0]["text"] == " dark films"
