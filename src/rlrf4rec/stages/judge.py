"""Rewards of new texts of a tuned policy, as the search of DPO's hyperparameters needs them."""

from pathlib import Path

from rlrf4rec import paths
from rlrf4rec.feedback import models
from rlrf4rec.feedback.rewards import Scorer, score, tasks
from rlrf4rec.language.encoder import encode_texts
from rlrf4rec.language.generate import Settings
from rlrf4rec.language.models import DTYPES, Place, load_encoder, load_policy
from rlrf4rec.language.sampler import Sampler, blank_tokens, sample_texts, stop_tokens, to_text, token_texts
from rlrf4rec.language.shared_attention import NAME
from rlrf4rec.language.tokenizer import load_tokenizer
from rlrf4rec.params import Encode, Reward, Sample
from rlrf4rec.seeds import derive
from rlrf4rec.stages.inputs import read_tables
from rlrf4rec.tables.split import TUNING
from rlrf4rec.tables.texts import PROMPTS


class Judge:
    """Samples, encodes and scores texts of some tuning users; what does not change is loaded once."""

    def __init__(
        self,
        users: list[str],
        sample: Sample,
        encode: Encode,
        reward: Reward,
        round_name: str,
        seed: int,
        place: Place,
    ) -> None:
        self.sample, self.encode, self.reward, self.seed, self.place = sample, encode, reward, seed, place
        self.tables = read_tables()
        self.row = {user: row for row, user in enumerate(self.tables.users["user"])}
        frame = self.tables.list_frame("train").join(self.tables.users.filter(TUNING), on="user", how="semi")
        self.lists = self.tables.lists(frame)
        catalogue = self.tables.catalogue()
        nets = models.load(paths.reward_model(round_name), catalogue, self.lists.item.shape[1])
        halves = self.tables.users["half"].to_list()
        self.group = {u: halves[u] for u in sorted(set(self.lists.user.tolist()))}
        of = models.models_of(list(nets), self.group)
        self.scorer = Scorer(list(nets.values()), of, self.lists, reward.k)
        self.encoder, self.encoder_tokenizer = load_encoder(paths.ENCODER), load_tokenizer(paths.ENCODER)
        self.tokenizer = load_tokenizer(paths.LLM, place.trusted)
        words = token_texts(self.tokenizer)
        stop = stop_tokens(self.tokenizer, words, sample.stop)
        self.settings = Settings(sample.temperature, sample.top_k, sample.top_p, sample.max_tokens, stop)
        self.blank = blank_tokens(words)
        prompts = dict(PROMPTS.read(paths.PROMPTS).select("user", "prompt").iter_rows())
        self.prompts = {user: self.tokenizer.encode(prompts[user]) for user in users}

    def rewards(self, users: list[str], adapter: Path) -> list[float]:
        """Rewards of `sample.n` new texts for each user under the policy `adapter`."""
        model = load_policy(paths.LLM, adapter, DTYPES[self.sample.dtype], NAME, self.place)
        tokens = [self.prompts[user] for user in users]
        own = derive(self.seed, "judge")
        s = self.sample
        sampler = Sampler(model, tokens, self.settings, s.n, own, s.redraws, self.blank, None)
        batch = min(
            s.batch_users, -(-len(users) // 2)
        )  # two at least, so that two cores have work: there are few users
        drawn = sample_texts(sampler, batch, "tune_dpo sample")["tokens"].to_list()
        texts = [to_text(self.tokenizer, t, s.stop) for t in drawn]
        e = self.encode
        flat = encode_texts(self.encoder, self.encoder_tokenizer, texts, e.max_tokens, e.batch, "tune_dpo encode", None)
        bank = flat.view(len(users), s.n, -1)
        place = {self.row[user]: i for i, user in enumerate(users)}
        full = bank.new_zeros(len(self.row), s.n, bank.shape[2])
        for row, i in place.items():
            full[row] = bank[i]
        work = tasks(self.lists, full, self.group, self.reward.other_lists, derive(self.seed, "score"))
        done = score(self.scorer, [t for t in work if t.user in place], "tune_dpo score")
        return [value for r in done for value in r.reward(self.reward.kind).tolist()]
