"""The stages of the pipeline and of the studies, by name; what each does and why is in docs/method.md."""

STAGES = (
    "fetch_dataset",
    "fetch_models",
    "interactions",
    "split",
    "knowledge",
    "prompt",
    "sample",
    "encode",
    "tune_reward",
    "train_reward",
    "score",
    "pair",
    "tune_dpo",
    "train_dpo",
    "train_ranker",
    "evaluate",
    "watch",
    "report",
)
STUDY = (
    "protocol",
    "source",
    "train_policy",
    "control",
    "evaluate_controls",
    "reliability",
    "probe",
    "learning_curve",
    "bench",
)
