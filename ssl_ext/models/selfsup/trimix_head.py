"""Loss terms of TriMix (Bdair et al.): Barlow Twins, virtual embeddings and self-consistency."""

from __future__ import annotations

from torch import Tensor

from ssl_ext.losses import self_consistency_loss, trimix_terms, virtual_embedding_terms
from ssl_ext.registry import MODELS
from ssl_ext.values import check_not_negative, check_positive

from .barlow_twins import BarlowTwinsHead


@MODELS.register_module()
class TriMixHead(BarlowTwinsHead):
    """L = L_BT + β · L_vrt + γ · L_con (Eq. 11 of TriMix).

    Also logs ``virtual_p_lam`` and ``virtual_p_complement``: the mean predicted probabilities of the two
    sources of a virtual image, which should approach λ and 1 − λ.

    Args:
        virtual_weight: β; 0 omits the term.
        consistency_weight: γ; 0 omits the term.
        temperature: τ of the softmax in Eq. 7.
        feature_norm: Also standardise virtual embeddings over their features (last row of Table VI).
        virtual_on: ``'z'`` (projector output) or ``'y'`` (backbone features) for L_vrt (Table VII).
        consistency_on: The same choice for L_con.
        redundancy_weight: α of Barlow Twins.
        eps: Added to variances before the square root.

    Raises:
        ValueError: A temperature that is not positive, a negative weight, or a choice other than z and y.
    """

    def __init__(
        self,
        virtual_weight: float = 1000.0,
        consistency_weight: float = 200.0,
        temperature: float = 2.0,
        feature_norm: bool = True,
        virtual_on: str = "z",
        consistency_on: str = "z",
        redundancy_weight: float = 5e-3,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(redundancy_weight=redundancy_weight, eps=eps)
        for key, choice in (("virtual_on", virtual_on), ("consistency_on", consistency_on)):
            if choice not in ("y", "z"):
                raise ValueError(f"model.head.{key} is {choice!r}; allowed are 'y' and 'z'.")
        weights = dict(virtual_weight=virtual_weight, consistency_weight=consistency_weight)
        check_not_negative("model.head", **weights)
        check_positive("model.head", temperature=temperature)
        self.virtual_weight, self.consistency_weight = virtual_weight, consistency_weight
        self.temperature, self.feature_norm = temperature, feature_norm
        self.virtual_on, self.consistency_on = virtual_on, consistency_on

    @property
    def needs_virtual(self) -> bool:
        """True if a term needs virtual embeddings."""
        return self.virtual_weight > 0 or self.consistency_weight > 0

    @property
    def needs_virtual_projection(self) -> bool:
        """True if a term needs projected virtual embeddings."""
        return (self.virtual_weight > 0 and self.virtual_on == "z") or (
            self.consistency_weight > 0 and self.consistency_on == "z"
        )

    def loss(
        self,
        y1: Tensor,
        z1: Tensor,
        z2: Tensor,
        y_virtual: Tensor | None = None,
        z_virtual: Tensor | None = None,
        lam: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms.

        Args:
            y1: Backbone features of the first view, (N, C).
            z1: Projector outputs of the first view, (N, D).
            z2: Projector outputs of the second view, (N, D).
            y_virtual: Backbone features of the mixed images; needed if :attr:`needs_virtual`.
            z_virtual: Projector outputs of the mixed images; needed if :attr:`needs_virtual_projection`.
            lam: Mixing coefficient, 0-dim; needed if :attr:`needs_virtual`.
        """
        settings = dict(feature_norm=self.feature_norm, eps=self.eps)
        both = self.virtual_weight > 0 and self.consistency_weight > 0
        if both and self.virtual_on == self.consistency_on == "z":
            # All terms on z share its standardised embeddings.
            terms = trimix_terms(z1, z2, z_virtual, lam, temperature=self.temperature, **settings)
            return dict(
                loss_invariance=terms.invariance,
                loss_redundancy=self.redundancy_weight * terms.redundancy,
                loss_virtual=self.virtual_weight * terms.virtual,
                virtual_p_lam=terms.p_lam,
                virtual_p_complement=terms.p_complement,
                loss_consistency=self.consistency_weight * terms.consistency,
            )
        losses = super().loss(z1, z2)
        pairs = dict(y=(y1, y_virtual), z=(z1, z_virtual))
        if self.virtual_weight > 0:
            virtual, losses["virtual_p_lam"], losses["virtual_p_complement"] = virtual_embedding_terms(
                *pairs[self.virtual_on], lam, temperature=self.temperature, **settings
            )
            losses["loss_virtual"] = self.virtual_weight * virtual
        if self.consistency_weight > 0:
            consistency = self_consistency_loss(*pairs[self.consistency_on], lam, **settings)
            losses["loss_consistency"] = self.consistency_weight * consistency
        return losses
