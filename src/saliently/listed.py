"""Every method and every metric in one line of plain text. Listing them loads no torch; a test holds each row against
its class."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One method: its name in recipes, its class, and what a reader needs to choose it."""

    name: str
    where: str
    quantity: str
    passes: str
    completeness: str
    paper: str
    aliases: tuple[str, ...] = ()


class MetricRow(NamedTuple):
    """One metric: its name in recipes, its class, which way is good, and what it means."""

    name: str
    where: str
    better: str
    said: str
    paper: str


METHODS = (
    Row(
        "gradient",
        "saliently.methods.gradient:Gradient",
        "sensitivity",
        "1 backward",
        "none",
        "Simonyan et al. 2014; Li et al. 2016a",
    ),
    Row(
        "gradient-x-input",
        "saliently.methods.gradient:GradientXInput",
        "saliency",
        "1 backward",
        "on linear models",
        "Denil et al. 2015",
        ("gxi", "input-x-gradient"),
    ),
    Row(
        "smoothgrad",
        "saliently.methods.gradient:SmoothGrad",
        "that of `over`",
        "`samples` backward",
        "none",
        "Smilkov et al. 2017",
    ),
    Row(
        "integrated-gradients",
        "saliently.methods.path:IntegratedGradients",
        "saliency",
        "9 backward or more, as the gap asks",
        "to a tolerance, reported",
        "Sundararajan et al. 2017",
        ("ig",),
    ),
    Row(
        "lrp",
        "saliently.methods.relevance:LRP",
        "saliency",
        "1 backward",
        "where nothing is kept by biases or softmaxes; reported",
        "Bach et al. 2015; Arras et al. 2017; Ali et al. 2022; Achtibat et al. 2024",
        ("cp-lrp", "attn-lrp"),
    ),
    Row(
        "decompx",
        "saliently.methods.decomposition:DecompX",
        "saliency",
        "1 forward with a part for each token",
        "exact, but for bias='none'",
        "Modarressi et al. 2023",
    ),
    Row(
        "attention",
        "saliently.methods.attention:AttentionWeights",
        "attention",
        "1 forward",
        "shares of 1",
        "Bahdanau et al. 2015; Bastings and Filippova 2020, Eq. 1",
    ),
    Row(
        "attention-rollout",
        "saliently.methods.rollout:AttentionRollout",
        "attention",
        "1 forward",
        "shares of 1",
        "Abnar and Zuidema 2020",
        ("rollout",),
    ),
    Row(
        "attention-flow",
        "saliently.methods.rollout:AttentionFlow",
        "attention",
        "1 forward, and a maximum flow for each token",
        "shares of 1",
        "Abnar and Zuidema 2020",
        ("flow",),
    ),
    Row(
        "attention-x-gradient",
        "saliently.methods.attention_gradient:AttentionXGradient",
        "attention",
        "1 backward",
        "none",
        "Serrano and Smith 2019",
    ),
    Row(
        "gradient-rollout",
        "saliently.methods.attention_gradient:GradientRollout",
        "attention",
        "1 backward",
        "none",
        "Chefer et al. 2021",
        ("chefer", "gae"),
    ),
    Row(
        "value-zeroing",
        "saliently.methods.zeroing:ValueZeroing",
        "attention",
        "tokens + 1 forward",
        "shares of 1",
        "Mohebbi et al. 2023",
    ),
    Row(
        "value-weighted-norms",
        "saliently.methods.norms:ValueWeightedNorms",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Kobayashi et al. 2020",
        ("value-norms",),
    ),
    Row(
        "globenc",
        "saliently.methods.norms:GlobEnc",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Modarressi et al. 2022",
    ),
    Row(
        "alti",
        "saliently.methods.norms:Alti",
        "attention",
        "1 forward with a part for each token in attention",
        "shares of 1",
        "Ferrando et al. 2022",
    ),
    Row(
        "occlusion",
        "saliently.methods.removal:Occlusion",
        "saliency",
        "tokens + 2 forward",
        "where words add up; residual reported",
        "Li et al. 2016b; Kadar et al. 2017 (blank='delete')",
        ("omission",),
    ),
    Row(
        "hierarchical-occlusion",
        "saliently.methods.hierarchy:HierarchicalOcclusion",
        "saliency",
        "segments + words of those that matter + 2 forward",
        "where words add up; residual reported",
        "Li et al. 2016b",
    ),
    Row(
        "input-marginalization",
        "saliently.methods.marginal:InputMarginalization",
        "saliency",
        "up to 64 words a token forward",
        "none; residual reported",
        "Kim et al. 2020",
        ("input-marginalisation",),
    ),
    Row(
        "reagent",
        "saliently.methods.reagent:ReAGent",
        "sensitivity",
        "155 to 860 forward",
        "shares of 1",
        "Zhao et al. 2024",
    ),
    Row(
        "minimal-erasure",
        "saliently.methods.minimal:MinimalErasure",
        "selection",
        "2^words forward up to 12 words, then words^2 at most",
        "none",
        "Li et al. 2016b",
    ),
    Row(
        "shapley",
        "saliently.methods.shapley:Shapley",
        "saliency",
        "2^words forward up to 12 words, then as the error asks",
        "exact",
        "Shapley 1953; Lundberg and Lee 2017; Covert and Lee 2021",
    ),
    Row(
        "owen",
        "saliently.methods.shapley:Owen",
        "saliency",
        "about words^2 / 1.4 forward, or as the error asks",
        "exact",
        "Owen 1977; Winter 1989",
    ),
    Row(
        "banzhaf",
        "saliently.methods.shapley:Banzhaf",
        "saliency",
        "2^words forward up to 12 words, then as the error asks",
        "where words add up; residual reported",
        "Banzhaf 1965; Wang and Jia 2023",
    ),
    Row(
        "lime",
        "saliently.methods.surrogates:Lime",
        "saliency",
        "`samples` forward, equal ones once",
        "none; residual and fit reported",
        "Ribeiro et al. 2016",
    ),
    Row(
        "limsse",
        "saliently.methods.surrogates:Limsse",
        "saliency",
        "7 x words + 2 forward",
        "none; residual and fit reported",
        "Poerner et al. 2018",
    ),
    Row(
        "context-cite",
        "saliently.methods.surrogates:ContextCite",
        "saliency",
        "`ablations` + 2 forward",
        "none; fit reported",
        "Cohen-Wang et al. 2024",
    ),
    Row(
        "integrated-hessians",
        "saliently.methods.hessian:IntegratedHessians",
        "interaction",
        "9 nodes or more, as the gap asks, of words + 1 backward each",
        "to a tolerance, reported",
        "Janizek et al. 2020",
        ("ih",),
    ),
    Row(
        "shapley-interaction",
        "saliently.methods.pairs:ShapleyInteraction",
        "interaction",
        "2^words forward up to 12 words, then as the error asks",
        "exact, but for index='sii'",
        "Grabisch and Roubens 1999; Bord et al. 2023; Dhamdhere et al. 2020; Tsai et al. 2023",
    ),
    Row(
        "banzhaf-interaction",
        "saliently.methods.pairs:BanzhafInteraction",
        "interaction",
        "2^words forward up to 12 words, then as the error asks",
        "none; residual reported",
        "Grabisch and Roubens 1999",
    ),
    Row(
        "pairwise-occlusion",
        "saliently.methods.pairs:PairwiseOcclusion",
        "interaction",
        "words^2 / 2 forward",
        "where words add up by twos; residual reported",
        "Janizek et al. 2020",
    ),
    Row(
        "archipelago",
        "saliently.methods.pairs:Archipelago",
        "interaction",
        "words^2 forward",
        "none; of groups the residual is reported",
        "Tsang et al. 2020",
    ),
)

METRICS = (
    MetricRow(
        "comprehensiveness",
        "saliently.metrics.erasure:Comprehensiveness",
        "higher",
        "drop of the target when the strongest words are taken away",
        "DeYoung et al. 2020",
    ),
    MetricRow(
        "sufficiency",
        "saliently.metrics.erasure:Sufficiency",
        "lower",
        "drop of the target when only the strongest words are left",
        "DeYoung et al. 2020",
    ),
    MetricRow(
        "soft-comprehensiveness",
        "saliently.metrics.erasure:SoftComprehensiveness",
        "higher",
        "drop when each word fades by its score, as a share of the drop without words",
        "Zhao and Aletras 2023",
    ),
    MetricRow(
        "soft-sufficiency",
        "saliently.metrics.erasure:SoftSufficiency",
        "higher",
        "how much of the target is left when each word is kept by its score",
        "Zhao and Aletras 2023",
    ),
    MetricRow(
        "deletion",
        "saliently.metrics.erasure:Deletion",
        "lower",
        "mean of the target while words go, strongest first",
        "Samek et al. 2017; Petsiuk et al. 2018",
    ),
    MetricRow(
        "insertion",
        "saliently.metrics.erasure:Insertion",
        "higher",
        "mean of the target while words come, strongest first",
        "Petsiuk et al. 2018",
    ),
    MetricRow(
        "infidelity",
        "saliently.metrics.sums:Infidelity",
        "lower",
        "squared error of summed scores against the loss of random sets of words",
        "Yeh et al. 2019",
    ),
    MetricRow(
        "sensitivity-n",
        "saliently.metrics.sums:SensitivityN",
        "higher",
        "correlation of summed scores with the loss of random sets of words",
        "Ancona et al. 2018",
    ),
    MetricRow(
        "completeness-gap",
        "saliently.metrics.sums:CompletenessGap",
        "lower",
        "how far the scores are from summing to the whole change, as a share of it",
        "Sundararajan et al. 2017",
    ),
)
