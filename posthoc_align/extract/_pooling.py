"""One vector from the vectors of several tokens."""

from __future__ import annotations

from posthoc_align._arrays import Array

POOLINGS = ("mean", "cls", "last", "max")


def pool(hidden: Array, mask: Array, how: str) -> Array:
    """Pool the tokens that a mask names, in float32.

    Parameters
    ----------
    hidden : tensor of shape (n_rows, n_tokens, n_features)
    mask : bool tensor of shape (n_rows, n_tokens)
        At least one token a row.
    how : {"mean", "cls", "last", "max"}
        Mean, first, last or largest (in each column) of the tokens named.

    Returns
    -------
    tensor of shape (n_rows, n_features), float32
    """
    if how == "mean":
        hidden = hidden.float()
        weight = mask.to(hidden.dtype)
        return (weight[:, None, :] @ hidden)[:, 0] / weight.sum(dim=1, keepdim=True)
    if how == "max":
        return hidden.float().masked_fill(~mask[:, :, None], -float("inf")).amax(dim=1)
    if how == "cls":
        at = mask.int().argmax(dim=1)  # the first of equal values
    else:
        at = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
    index = at[:, None, None].expand(-1, 1, hidden.shape[2])
    return hidden.gather(1, index)[:, 0].float()
