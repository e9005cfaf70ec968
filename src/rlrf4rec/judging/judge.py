"""Rewards of new texts of a tuned policy by the models that judge, for the search of DPO's hyperparameters."""

import functools
from pathlib import Path

import polars as pl

from rlrf4rec import paths
from rlrf4rec.encoding.encoder import encode_texts, load_tokenizer_of
from rlrf4rec.encoding.making import load_making
from rlrf4rec.inputs import read_tables
from rlrf4rec.llm.models import DTYPES, Place, load_encoder, load_policy
from rlrf4rec.llm.tokenizer import load_tokenizer
from rlrf4rec.params import Encode, Reward, Sample
from rlrf4rec.reward import models, reading
from rlrf4rec.reward.rewards import groups, score, scoring
from rlrf4rec.sampling.generate import SamplingSettings
from rlrf4rec.sampling.sampler import Sampler, blank_tokens, sample_texts, stop_tokens, to_text, token_texts
from rlrf4rec.sampling.shared_attention import NAME
from rlrf4rec.seeds import derive
from rlrf4rec.tables.split import USERS
from rlrf4rec.tables.texts import PROMPTS


class Judge:
    """Samples, encodes and scores new texts of some users; what does not change is loaded once.

    `fold`: train (users who tune, judged by models of the other half) or validation.
    """

    def __init__(
        self,
        users: list[str],
        fold: str,
        sample: Sample,
        encode: Encode,
        reward: Reward,
        round_name: str,
        seed: int,
        place: Place,
    ) -> None:
        self.sample, self.encode, self.reward, self.seed, self.place = sample, encode, reward, seed, place
        tables = read_tables()
        self.row = {user: row for row, user in enumerate(tables.users["user"])}
        self.lists = tables.lists(
            tables.list_frame(fold).join(tables.users.filter(USERS["tuning"]), on="user", how="semi")
        )
        file, length = paths.reward_models(round_name, "judge"), self.lists.item.shape[1]
        item_features = tables.item_features()
        read = functools.partial(reading.texts, tables, item_features)
        self.models = models.load(file, item_features, length, read)
        self.group = groups(tables.users, self.lists)
        self.encoder, self.encoder_tokenizer = load_encoder(paths.ENCODER), load_tokenizer_of(paths.ENCODER)
        self.making = load_making(paths.ENCODER, self.encoder_tokenizer, encode.prompt)
        self.tokenizer = load_tokenizer(paths.LLM, place.trusted)
        words = token_texts(self.tokenizer)
        stop = stop_tokens(self.tokenizer, words, sample.stop)
        s = sample
        self.settings = SamplingSettings(s.temperature, s.top_k, s.top_p, s.max_tokens, stop, len(words))
        self.blank = blank_tokens(words)
        prompts = PROMPTS.read(paths.PROMPTS).filter(pl.col("user").is_in(users))
        self.prompts = dict(prompts.select("user", "tokens").iter_rows())

    def rewards(self, users: list[str], adapter: Path) -> list[float]:
        """Rewards of `sample.n` new texts for each user under the policy `adapter`."""
        model = load_policy(paths.LLM, adapter, DTYPES[self.sample.dtype], NAME, self.place)
        tokens = [self.prompts[user] for user in users]
        own = derive(self.seed, "judge")
        s = self.sample
        sampler = Sampler(model, tokens, self.settings, s.n, own, s.redraws, self.blank, None)
        batch = min(s.batch_users, -(-len(users) // 2))  # so few users: two batches at least, for two cores
        drawn = sample_texts(sampler, batch, "tune_dpo sample")["tokens"].to_list()
        texts = [to_text(self.tokenizer, t, s.stop) for t in drawn]
        e, of, what = self.encode, (self.encoder, self.encoder_tokenizer), "tune_dpo encode"
        flat = encode_texts(*of, texts, e.max_tokens, e.batch, what, None, self.making)
        bank = flat.view(len(users), s.n, -1)
        place = {self.row[user]: i for i, user in enumerate(users)}
        full = bank.new_zeros(len(self.row), s.n, bank.shape[2])
        for row, i in place.items():
            full[row] = bank[i]
        seed = derive(self.seed, "score")
        work = scoring(self.models, self.lists, full, self.group, self.reward, seed, place)
        (done,) = score([work], "tune_dpo score")
        return [value for r in done for value in r.reward(self.reward.kind).tolist()]
