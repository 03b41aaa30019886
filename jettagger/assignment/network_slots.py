# mypy: disable-error-code="misc,no-any-return"
"""The slots of the events of a batch, in the way that the layers of the network run over them. Imported with torch.

`AllSlots` has them as they are, empty ones too: float[events, slots, width]. `RealSlots` has those with an object
alone, as rows: float[1, rows, width]. A training on a CPU has rows, as up to half of the slots is empty; what is
exported, and what is drawn by a graph that has no numbers yet, has all slots, so that their number stays free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from jettagger.assignment.network_gradients import RowAttention, writes_out
from jettagger.display import Brief

__all__ = ["AllSlots", "RealSlots", "Slots"]

#: stands for minus infinity in logits of the attention: its exponential is zero, and 0 times it is no NaN
_LOWEST = -1e30


def _attend(projected: Any, heads: int, scale: float, dropout: float, masked: Any, bias: Any) -> Any:
    """Attention between all slots of each event, float[events, slots, width]."""
    events, slots, width = projected.shape[0], projected.shape[1], projected.shape[2] // 3
    query, key, value = (
        part.reshape(events, slots, heads, width // heads).transpose(1, 2) for part in projected.split(width, -1)
    )
    # keys first: the softmax then runs over many columns at once, which halves the time for few slots
    logits = torch.matmul(key, (query * scale).transpose(2, 3)).permute(0, 2, 1, 3)
    if bias is not None:
        logits = logits + bias.permute(0, 3, 1, 2)
    shares = torch.softmax(logits.float().masked_fill(masked, _LOWEST).contiguous(), 1)
    shares = functional.dropout(shares, dropout, dropout > 0)
    made = torch.matmul(shares.permute(0, 2, 3, 1), value)
    return made.transpose(1, 2).reshape(events, slots, width)


class AllSlots(Brief):
    """All slots of the events.

    Parameters
    ----------
    mask : bool[events, slots, 1]
        Slots that are not set to zero.
    empty : bool[events, slots]
        Slots that are not attended to.
    bias : float[events, heads, slots, slots], optional
        Added to the logits of the attention between slots.
    """

    def __init__(self, mask: Any, empty: Any, bias: Any = None) -> None:
        self.mask, self.empty, self.bias = mask, empty, bias
        self._behind_token: AllSlots | None = None

    def first(self, count: int, x: Any) -> tuple[AllSlots, Any]:
        """The first slots of each event, without biases.

        Parameters
        ----------
        count : int
        x : float[events, slots, width]

        Returns
        -------
        slots : AllSlots
        x : float[events, count, width]
        """
        return AllSlots(self.mask[:, :count], self.empty[:, :count]), x[:, :count]

    def behind(self, token: Any, x: Any) -> tuple[AllSlots, Any]:
        """The slots of each event behind a token, which has no bias.

        Parameters
        ----------
        token : float[width]
        x : float[events, slots, width]

        Returns
        -------
        slots : AllSlots
        x : float[events, 1 + slots, width]
        """
        if self._behind_token is None:
            self._behind_token = AllSlots(
                functional.pad(self.mask, (0, 0, 1, 0), value=True),
                functional.pad(self.empty, (1, 0), value=False),
                None if self.bias is None else functional.pad(self.bias, (1, 0, 1, 0)),
            )
        return self._behind_token, torch.cat([token.expand(x.shape[0], 1, -1), x], 1)

    def split(self, x: Any) -> tuple[Any, Any]:
        """The slots, and the token in front of them.

        Parameters
        ----------
        x : float[events, 1 + slots, width]

        Returns
        -------
        x : float[events, slots, width]
        token : float[events, width]
        """
        return x[:, 1:], x[:, 0]

    def attend(self, projected: Any, heads: int, scale: float, dropout: float) -> Any:
        """Attention between the slots of each event.

        Parameters
        ----------
        projected : float[events, slots, 3 * width]
            Queries, keys and values.
        heads : int
        scale : float
            Factor of the queries.
        dropout : float
            Of the shares.

        Returns
        -------
        float[events, slots, width]
        """
        return _attend(projected, heads, scale, dropout, self.empty[:, :, None, None], self.bias)

    def padded(self, x: Any) -> Any:
        """What the slots have, with a place for each slot.

        Parameters
        ----------
        x : float[events, slots, width]

        Returns
        -------
        float[events, slots, width]
        """
        return x


class RealSlots(Brief):
    """The slots with an object, as rows: float[1, rows, width]. Methods are those of `AllSlots`.

    Parameters
    ----------
    present : bool[events, slots]
        Slots with an object.
    bias : float[events, heads, slots, slots], optional
        Added to the logits of the attention between slots.
    places : int64[rows], optional
        Number of the slot of each row among all slots. Default: in the order of the events.
    """

    def __init__(self, present: Any, bias: Any = None, places: Any = None) -> None:
        self.present, self.bias = present, bias
        self.places = present.reshape(-1).nonzero()[:, 0] if places is None else places
        self._order: Any = None
        self.mask = torch.ones(1, len(self.places), 1, dtype=torch.bool, device=present.device)
        self._behind_token: RealSlots | None = None
        self._first: dict[int, tuple[RealSlots, Any]] = {}

    def first(self, count: int, x: Any) -> tuple[RealSlots, Any]:
        """The first slots of each event, without biases."""
        slots = self.present.shape[1]
        if count not in self._first:
            event = torch.div(self.places, slots, rounding_mode="floor")
            places = self.places - event * (slots - count)
            rows = None if count == slots else (self.places % slots < count).nonzero()[:, 0]
            self._first[count] = (
                RealSlots(self.present[:, :count], None, places if rows is None else places[rows]),
                rows,
            )
        made, rows = self._first[count]
        return made, x if rows is None else x.index_select(1, rows)

    def behind(self, token: Any, x: Any) -> tuple[RealSlots, Any]:
        """The slots of each event behind a token, which has no bias; rows of tokens are the first."""
        events, slots = self.present.shape
        if self._behind_token is None:
            event = torch.arange(events, device=self.places.device)
            own = self.places + torch.div(self.places, slots, rounding_mode="floor") + 1
            self._behind_token = RealSlots(
                functional.pad(self.present, (1, 0), value=True),
                None if self.bias is None else functional.pad(self.bias, (1, 0, 1, 0)),
                torch.cat([event * (slots + 1), own]),
            )
        return self._behind_token, torch.cat([token.expand(1, events, -1), x], 1)

    def split(self, x: Any) -> tuple[Any, Any]:
        """The slots, and the token in front of them."""
        # views of which the gradients are one matrix, and not each of them one with zeros
        tokens, rows = x.reshape(-1, x.shape[2]).split([self.present.shape[0], x.shape[1] - self.present.shape[0]])
        return rows[None], tokens

    def attend(self, projected: Any, heads: int, scale: float, dropout: float) -> Any:
        """Attention between the slots of each event."""
        compiled = projected.device.type == "cpu" and projected.dtype == torch.float32 and writes_out(projected)
        if compiled and self.bias is None and not dropout:
            return RowAttention.apply(projected.reshape(-1, projected.shape[2]), *self._events(), heads, scale)[None]
        masked = ~self.present[:, :, None, None]
        made = _attend(self.padded(projected), heads, scale, dropout, masked, self.bias)
        return made.reshape(-1, made.shape[2]).index_select(0, self.places)[None]

    def _events(self) -> tuple[Any, Any, Any]:
        """The rows of the events, one event after the other, and where each event starts among rows and shares."""
        if self._order is None:
            from jettagger.assignment.attention_kernels import share_offsets

            counts = self.present.sum(1).numpy()
            starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
            self._order = self.places.argsort().numpy(), starts, share_offsets(counts)
        return self._order

    def padded(self, x: Any) -> Any:
        """What the slots have, with a place for each slot; zero for empty ones."""
        events, slots = self.present.shape
        made = x.new_zeros(events * slots, x.shape[2]).index_copy_(0, self.places, x.reshape(-1, x.shape[2]))
        return made.reshape(events, slots, x.shape[2])


Slots = AllSlots | RealSlots
