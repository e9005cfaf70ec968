"""Self-attention over a candidate list, with the project's dropout."""

from torch import nn

from rlrf4rec.ranking.dropout import Dropout

HIDDEN, HEADS = 64, 2


def attention(dropout: float) -> nn.Module:
    """A block of self-attention and feed-forward layers, [B, C, HIDDEN] to the same, with dropout around both."""
    block = nn.TransformerEncoderLayer(HIDDEN, HEADS, 2 * HIDDEN, dropout, batch_first=True)
    block.dropout, block.dropout1, block.dropout2 = (Dropout(dropout) for _ in range(3))  # type: ignore[assignment]
    return block
