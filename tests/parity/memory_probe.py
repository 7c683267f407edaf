"""A plug-in for ``bench.py memory``: the ReCo authors' loss, from the checkout that ``BENCH_PARITY`` names.

It is imported from there, never copied; it draws from torch's global generators, which is theirs to keep.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from bench.registry import register
from methods.losses.probes import ReCoProbe

sys.path.insert(0, str(Path(__file__).parents[2]))  # a plug-in is a file, and this one has neighbours

from tests.parity.checkouts import imported


@register("probe", "reco_authors")
class AuthorsReCoProbe(ReCoProbe):
    """``compute_reco_loss`` of the authors' ``module_list`` on the inputs of our probe."""

    def loss(self) -> Tensor:
        """Return their loss."""
        config = self.config
        label = F.one_hot(self.label, config.classes).permute(0, 3, 1, 2).float()
        with imported("reco", "module_list") as (theirs,):
            loss: Tensor = theirs.compute_reco_loss(
                self.representation,
                label,
                self.valid[:, None].float(),
                self.probability,
                0.97,
                0.5,
                config.num_queries,
                config.num_negatives,
            )
        return loss
