"""What a server answered, beside the texts that were made of it."""

import pandera.polars as pa

from rlrf4rec.tables.contract import table


class Answer(pa.DataFrameModel):
    """The JSON that a server sent for a text: its words, why it stopped, the tokens that it counted."""

    user: str
    sample: int = pa.Field(ge=0)
    answer: str = pa.Field(str_length={"min_value": 1})

    class Config:
        strict = True
        unique = ["user", "sample"]


ANSWERS = table(Answer, "sample")
