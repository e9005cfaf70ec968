"""Stage sample: N texts per user from a policy (the LLM with the adapter of a round, or none)."""

from dataclasses import dataclass

import polars as pl

from rlrf4rec import machine, paths, replicates, store
from rlrf4rec.files import fingerprint, sha256, write_json
from rlrf4rec.llm.models import DTYPES, Place, load_policy
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Endpoint, Llm, Sample
from rlrf4rec.sampling.generate import SamplingSettings
from rlrf4rec.sampling.sampler import Sampler, blank_tokens, check_fit, sample_texts, stop_tokens, to_text, token_texts
from rlrf4rec.sampling.shared_attention import NAME
from rlrf4rec.seeds import derive
from rlrf4rec.serving.endpoint import Client
from rlrf4rec.serving.endpoint import sample_texts as ask_texts
from rlrf4rec.tables.answers import ANSWERS
from rlrf4rec.tables.split import FINAL, FOLD_USERS, USERS
from rlrf4rec.tables.texts import PROMPTS, TEXTS


@dataclass(frozen=True)
class Reused:
    """How many texts were asked for now (those drawn again among them), and how many were kept from before.

    `other_batches`: texts that were drawn in another batch than that of a fresh run, whose last bits may differ; None
    where a server makes the batches.
    """

    fresh: int
    kept: int
    other_batches: int | None

    def note(self) -> str:
        """What the closing line says of texts that a fresh run might not give."""
        return f", {self.other_batches} drawn in other batches than a fresh run's" if self.other_batches else ""


def run(seed: int, sample: Sample, llm: Llm, endpoint: Endpoint, name: str, policy: str, users: str) -> str:
    """Sample the texts `name` of `policy` for `users` (of `tables.split.USERS`, or final); returns the closing line."""
    prompts = _prompts(users)
    number = replicates.parts(name)[1]  # all arms of a replicate draw by the same numbers
    own_seed = derive(seed, "sample", number) if number else derive(seed, "sample")
    if policy in endpoint.policies:
        computed = "of the endpoint"
        drawn, reused = _from_endpoint(prompts, sample, llm, endpoint, name, policy, own_seed)
    else:
        computed = machine.arithmetic(sample.dtype, machine.device(llm.device), threads=1)
        drawn, reused = _from_here(prompts, sample, llm, policy, users, own_seed)
    texts = drawn.select(
        prompts["user"].gather(drawn["row"]).alias("user"),
        "sample",
        "text",
        pl.lit(policy).alias("policy"),
        "tokens",
        pl.col("tokens").list.len().cast(pl.Int64).alias("token_count"),
        "stop",
        "redraws",
        "log_prob",
        pl.lit(sample.temperature).alias("temperature"),
        pl.lit(sample.top_k, pl.Int64).alias("top_k"),
        pl.lit(sample.top_p).alias("top_p"),
        pl.lit(sample.max_tokens, pl.Int64).alias("max_tokens"),
        pl.lit(own_seed, pl.Int64).alias("seed"),
    )
    TEXTS.write(texts, paths.texts(name))
    report = {
        "texts": texts.height,
        "redrawn": int((texts["redraws"] > 0).sum()),
        "tokens_mean": texts["token_count"].mean(),
        "characters_mean": texts["text"].str.len_chars().mean(),
        "stopped_share": float((texts["stop"] == "stop").mean()),  # type: ignore[arg-type]
        "distinct_share": texts["text"].n_unique() / texts.height,
        "other_batches": reused.other_batches,
        "arithmetic": computed,
    }
    write_json(paths.metrics("sample", name), report)
    return (
        f"wrote {paths.texts(name)}, {texts.height} texts of {prompts.height} users, {reused.fresh} sampled now, "
        f"{reused.kept} kept from before{reused.note()}; {report['redrawn']} redrawn; {computed}"
    )


def _prompts(users: str) -> pl.DataFrame:
    """Prompts of these users."""
    if users == FINAL:
        return PROMPTS.read(paths.FINAL_PROMPTS)
    wanted = FOLD_USERS.read(paths.FOLD_USERS).filter(USERS[users]).select("user")
    return PROMPTS.read(paths.PROMPTS).join(wanted, on="user", how="semi", maintain_order="left")


def _from_here(
    prompts: pl.DataFrame, sample: Sample, llm: Llm, policy: str, users: str, seed: int
) -> tuple[pl.DataFrame, Reused]:
    """Texts sampled on this machine: row, sample, text, tokens, stop, redraws, log_prob.

    Kept texts are those that were drawn for the same `users`: of a policy that writes for several sets the users in two
    of them have other batches in each, and who would take over the other's depended on which was drawn first.
    """
    where = Place.of(llm.device, llm.quantization, llm.trust_remote_code)
    tokenizer = load_tokenizer(paths.LLM, where.trusted)
    model = load_policy(paths.LLM, paths.policy(policy), DTYPES[sample.dtype], NAME, where)
    tokens = prompts["tokens"].to_list()
    mend = "lower prompt.max_tokens or sample.max_tokens"
    check_fit(model, tokens, sample.max_tokens, "sample: the longest prompt", mend)
    words = token_texts(tokenizer)
    stop = stop_tokens(tokenizer, words, sample.stop)
    code = store.code("stages.sample", threads=1)
    settings = SamplingSettings(sample.temperature, sample.top_k, sample.top_p, sample.max_tokens, stop, len(words))
    sampler = Sampler(
        model,
        tokens,
        settings,
        sample.n,
        seed,
        sample.redraws,
        blank_tokens(words),
        fingerprint([where.identity(paths.LLM), sha256(paths.policy(policy)), users, code]),
    )
    drawn = sample_texts(sampler, sample.batch_users, f"sample {policy}")
    texts = [to_text(tokenizer, own, sample.stop) for own in drawn["tokens"].to_list()]
    stops = ["stop" if own[-1] in settings.stop else "length" for own in drawn["tokens"].to_list()]
    reused = Reused(sampler.fresh, sampler.kept, sampler.other_batches)
    return drawn.with_columns(pl.Series("text", texts), pl.Series("stop", stops)), reused


def _from_endpoint(
    prompts: pl.DataFrame, sample: Sample, llm: Llm, endpoint: Endpoint, name: str, policy: str, seed: int
) -> tuple[pl.DataFrame, Reused]:
    """The same from a server, whose answers are written beside the texts; tokens are those of the local LLM."""
    tokenizer = load_tokenizer(paths.LLM, llm.trust_remote_code is not None)
    client = Client(endpoint, endpoint.policies[policy], sample, seed)
    drawn, asked = ask_texts(client, prompts, f"sample {policy}")
    answers = drawn.select(prompts["user"].gather(drawn["row"]).alias("user"), "sample", "answer")
    ANSWERS.write(answers, paths.answers(name))
    ending = tokenizer.encode(sample.stop[0], add_special_tokens=False)
    tokens = [
        tokenizer.encode(f" {text}", add_special_tokens=False) + (ending if stop == "stop" else [])
        for text, stop in drawn.select("text", "stop").iter_rows()
    ]
    unknown = pl.lit(None, pl.Float64).alias("log_prob")  # a server does not tell it of the tokens as they are here
    texts = drawn.with_columns(pl.Series("tokens", tokens, dtype=pl.List(pl.Int64)), unknown)
    return texts, Reused(asked, client.kept, None)
