"""Item-kNN (Sarwar et al., WWW 2001): what goes with the items of a query, by the train users that have both.

Sparse, so a large catalogue costs what is similar in it: an item keeps its `NEIGHBOURS` most similar ones, which are
all in a catalogue no larger than that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from rlrf4rec.lists.given import Places

SHRINKAGE = 10.0
NEIGHBOURS = 2000  # 8 bytes each: 60,000 items take at most 0.96 GB
EXACT = 2.0**30  # similarities are multiples of 1/EXACT: sums of them are exact in any order, so ties are true ties
ROWS = 128  # items whose neighbours are counted at once


@dataclass(frozen=True)
class ItemKnn:
    """Sum over the query's items of their similarity to each item.

    similarity: [I, I] of whole numbers in units of 1/EXACT, row: item of the query.
    """

    similarity: csr_array

    def score(self, queries: list[Places]) -> NDArray[np.float64]:
        """Scores [Q, I]; an item that stands twice in a query counts once."""
        items = self.similarity.shape[1]
        scores = np.empty((len(queries), items))
        for row, query in zip(scores, queries, strict=True):
            near = self.similarity[np.unique(query)]
            row[:] = np.bincount(near.indices, weights=near.data, minlength=items)
        return scores / EXACT


def fit(sequences: list[Places], items: int) -> ItemKnn:
    """From users' item places."""
    return ItemKnn(cosine(sequences, items, SHRINKAGE, NEIGHBOURS))


def cosine(sequences: list[Places], items: int, shrinkage: float, neighbours: int) -> csr_array:
    """Similarities of items by the users that have both: n_ij / (sqrt(n_i n_j) + shrinkage), none to itself.

    [I, I] of whole numbers in units of 1/EXACT. A row has its `neighbours` largest; ties in the order of the catalogue.
    """
    user = np.repeat(np.arange(len(sequences), dtype=np.int32), [len(sequence) for sequence in sequences])
    item = np.concatenate(sequences).astype(np.int32)  # scipy keeps to the width of the places that it is given
    used = csr_array((np.ones(len(user)), (user, item)), shape=(len(sequences), items))
    used.data[:] = 1.0  # scipy has summed what stood twice
    having = used.T.tocsr()
    count = np.diff(having.indptr).astype(np.float64)
    blocks = []
    for begin in range(0, items, ROWS):
        both = (having[begin : begin + ROWS] @ used).tocoo()  # counts, exact
        row, column = both.row + begin, both.col
        similar = np.round(both.data / (np.sqrt(count[row] * count[column]) + shrinkage) * EXACT)
        similar[row == column] = 0
        block = csr_array((similar.astype(np.int32), (both.row, column)), shape=both.shape)
        block.eliminate_zeros()
        blocks.append(_nearest(block, neighbours))
    return vstack(blocks, format="csr")


def _nearest(block: csr_array, neighbours: int) -> csr_array:
    """The largest numbers of each row."""
    keep = np.ones(block.nnz, dtype=bool)
    for begin, end in zip(block.indptr, block.indptr[1:], strict=False):
        if end - begin > neighbours:
            order = (block.data[begin:end].astype(np.int64) << 32) - block.indices[begin:end]  # no two are equal
            keep[begin + np.argpartition(order, -neighbours)[:-neighbours]] = False
    ends = np.concatenate([[0], np.cumsum(keep)]).astype(np.int32)[block.indptr]
    return csr_array((block.data[keep], block.indices[keep], ends), shape=block.shape)
