"""The comparisons with numbers of others that docs/validation.md lists, group by group."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cms_networks import NETWORKS

__all__ = ["COMPARISONS", "GROUPS", "Comparison"]


@dataclass(frozen=True)
class Comparison:
    """One line of the page.

    Parameters
    ----------
    what : str
        What of jettagger is compared.
    against : str
        With what; versions of packages are added to it.
    on : str
        Kind of data. ``{sample}`` is their number.
    test : str
        Which test compares: ``tests/test_x.py::test_y``.
    packages : tuple of str
        Whose version counts, as installed where it was measured.
    page : str
        Where more is said.
    files : tuple of str
        What is read of the folder with real files.
    unit : str
        Of the differences; empty for numbers without one, such as probabilities.
    """

    what: str
    against: str
    on: str
    test: str
    packages: tuple[str, ...] = ()
    page: str = ""
    files: tuple[str, ...] = ()
    unit: str = ""


_STORED = "tests/test_docs_models.py::test_the_differences_are_those_that_are_measured"

#: group -> its title and what is said about it
GROUPS: dict[str, tuple[str, str]] = {
    "cms_stored_scores": (
        "Scores stored by CMSSW",
        "The file holds scores that CMS's software computed from the full event; jettagger computes them from the "
        "stored columns, which have 10-bit mantissas, as have the stored scores. The difference of each column: "
        "[models.md](models.md#agreement-with-the-stored-scores).",
    ),
    "cms_inputs": (
        "Inputs and discriminants of CMS",
        "`by hand`: inputs made by plain loops from the description of the network, as CMSSW's producer makes them. "
        "CMS stores the six scores of DeepJet beside its discriminants, each with ten bits.",
    ),
    "weaver": (
        "weaver, JetClass-II and Sophon",
        "Tensors are those of weaver's own loader, for the published configuration of Sophon and the 100 published "
        "jets, and for configurations with what is hard: roots of negative numbers, sorting, sums, both paddings.",
    ),
    "spanet": (
        "SPANet",
        "The reference is SPANet at commit 46c6805 with torch 2.13.0, trained on its ttH example; its numbers were "
        "stored once.",
    ),
    "ml_jec": (
        "ml-jec",
        "The reference is ml-jec at commit a53759d with TensorFlow 2.21.0, on its own test shards; its numbers were "
        "stored once. Its transforms differ from what its file says (`legacy_closure`), and both are compared.",
    ),
    "statistics": (
        "Fits and cards",
        "CLs of pyhf at a limit should be 0.05; its default minimiser has a tolerance of its own. cabinetry's limits "
        "are compared in `tests/test_search_examples.py`.",
    ),
    "corrections": (
        "Jet energy corrections",
        "Jets with a matched generator jet, which need no random number.",
    ),
    "explain": (
        "Explanations",
        "A network with random weights, in torch for captum and as ONNX file for jettagger.",
    ),
    "learning": ("Machine learning", "Definitions of other packages."),
    "kinematics": ("Kinematics", "In double precision."),
    "runtimes": (
        "Runtimes",
        "ONNX Runtime is the reference. Every session is checked at its first use, with the bounds in "
        "[scaling.md](scaling.md).",
    ),
}

#: network -> its title
_NETWORKS = {
    "particlenet-ak8-md": "ParticleNet-MD V01",
    "deepdoublex-v02-bvl": "DeepDoubleX V02, bb against light",
    "deepdoublex-v02-cvb": "DeepDoubleX V02, cc against bb",
    "deepak8-md-v02": "DeepAK8-MD V02",
    "deepjet-v03": "DeepJet V03",
}
_JETS = {"deepjet-v03": "AK4 jets with abs(eta) < 2.5"}
_PFNANO = "10 simulated QCD events, PFNano"
_SPANET = ("spanet/ttH_forward64.npz", "spanet/ttH_event.yaml")
_MLJEC = ("mljec/model_mlp.npz", "mljec/batches_as_implemented.npz")

#: group/name -> the comparison
COMPARISONS: dict[str, Comparison] = {
    f"cms_stored_scores/{name}": Comparison(
        f"scores of {title}",
        "CMSSW (Run 2)",
        f"{{sample}} {_JETS.get(name, 'AK8 jets')} of {_PFNANO}",
        "tests/test_docs_models.py::test_the_differences_are_those_that_are_measured",
        page="models.md#agreement-with-the-stored-scores",
        files=("cms/pfnano.root", f"models/{NETWORKS[name][0]}"),
    )
    for name, title in _NETWORKS.items()
} | {
    "cms_inputs/particlenet-ak4": Comparison(
        "scores of ParticleNet for AK4 jets",
        "ONNX Runtime with inputs made by hand",
        f"{{sample}} AK4 jets of {_PFNANO}",
        "tests/test_ak4.py::test_particlenet_on_the_experiments_ak4_jets_is_what_onnxruntime_gives_for_inputs_made_by_hand",
        ("onnxruntime",),
        "pfnano.md#ak4-jets-and-fat-jets",
        ("cms/pfnano.root", "models/particlenet-ak4/model.onnx"),
    ),
    "cms_inputs/links": Comparison(
        "momenta that links lead to",
        "their copies in CMS's link tables",
        f"{_PFNANO}",
        "tests/test_links.py::test_links_of_the_experiment_repeat_what_they_point_to_to_the_bit",
        page="pfnano.md",
        files=("cms/pfnano.root",),
        unit="GeV",
    ),
    "cms_inputs/ratios": Comparison(
        "discriminants of DeepJet from its stored scores",
        "stored discriminants",
        f"{{sample}} AK4 jets of {_PFNANO}",
        "tests/test_discriminants.py::test_scores_of_pfnano_give_the_ratios_that_are_stored_beside_them",
        page="discriminants.md",
        files=("cms/pfnano.root",),
    ),
    "weaver/tensors": Comparison(
        "tensors of Sophon's configuration",
        "weaver's loader",
        "{sample} jets of JetClass-II",
        "tests/test_weaver_tagger.py::test_inputs_of_real_jets_are_those_of_weaver",
        ("weaver-core",),
        "weaver.md#tests-against-weaver",
        ("sophon/JetClassII_example.parquet", "sophon/JetClassII_full.yaml"),
    ),
    "weaver/hard": Comparison(
        "tensors of hard values",
        "weaver's loader",
        "{sample} random jets",
        "tests/test_weaver_tagger.py::test_values_that_are_hard_are_those_of_weaver",
        ("weaver-core",),
        "weaver.md#tests-against-weaver",
    ),
    "weaver/standardised": Comparison(
        "tensors that weaver standardised by itself",
        "weaver's loader",
        "{sample} random jets",
        "tests/test_weaver_tagger.py::test_what_weaver_standardised_by_itself_is_used",
        ("weaver-core",),
        "weaver.md#tests-against-weaver",
    ),
    "weaver/sophon": Comparison(
        "inputs of Sophon",
        "a computation in double precision by hand",
        "{sample} jets of JetClass-II",
        "tests/test_sophon.py::test_inputs_of_all_example_jets_equal_an_independent_computation",
        page="weaver.md#sophon",
        files=("sophon/JetClassII_example.parquet",),
    ),
    "spanet/network": Comparison(
        "outputs with imported weights (logits, log probabilities)",
        "SPANet",
        "{sample} events of the ttH example",
        "tests/test_assignment_network.py::test_weights_of_the_original_give_its_numbers",
        ("torch",),
        "assignment.md",
        ("spanet/ttH_state_dict.npz", *_SPANET),
    ),
    "spanet/onnx": Comparison(
        "log probabilities with its exported network",
        "SPANet",
        "{sample} events of the ttH example",
        "tests/test_assigner.py::test_the_exported_network_of_the_original_gives_its_numbers",
        ("onnxruntime",),
        "assignment.md",
        ("spanet/ttH.onnx", *_SPANET),
    ),
    "spanet/decoding": Comparison(
        "greedy decoding, slots",
        "SPANet, with its minus infinities",
        "{sample} random events of each of four topologies",
        "tests/test_decoding.py::test_greedy_is_exactly_the_reference",
        ("numba",),
        "assignment.md#decoding",
        ("spanet/decode_reference.npz",),
    ),
    "spanet/purities": Comparison(
        "purities and proportions",
        "SPANet",
        "{sample} events of the ttH example",
        "tests/test_purity.py::test_purities_are_exactly_the_references",
        page="assignment.md",
        files=("spanet/ttH_full_decoded.npz", "spanet/ttH_metrics.json"),
    ),
    "spanet/losses": Comparison(
        "terms of the loss",
        "SPANet",
        "{sample} events of the ttH example, seven sets of options",
        "tests/test_assignment_losses.py::test_every_term_of_a_step_is_that_of_the_original",
        ("torch",),
        "assignment.md",
        ("spanet/ttH_training_step.json", "spanet/examples/ttH.h5"),
    ),
    "spanet/normalisation": Comparison(
        "means and widths of inputs",
        "SPANet",
        "{sample} events of the ttH example",
        "tests/test_assignment_losses.py::test_statistics_are_those_of_the_original",
        page="assignment.md",
        files=("spanet/ttH_normalisation.json", "spanet/examples/ttH.h5"),
    ),
    "ml_jec/transformed": Comparison(
        "inputs after its transforms",
        "ml-jec",
        "{sample} jets",
        "tests/test_jec_rows.py::test_reference_batches",
        page="jec.md",
        files=("mljec/batches_as_implemented.npz", "mljec/batches_intended.npz"),
    ),
    "ml_jec/network": Comparison(
        "outputs with imported weights",
        "ml-jec",
        "{sample} jets",
        "tests/test_jec_network.py::test_outputs_with_weights_of_the_original_are_its_own",
        ("torch",),
        "jec.md",
        _MLJEC,
    ),
    "ml_jec/predictions": Comparison(
        "predictions from files to numbers, in ONNX",
        "ml-jec",
        "{sample} jets",
        "tests/test_jec_training.py::test_imported_weights_predict_what_the_original_predicted",
        ("onnxruntime",),
        "jec.md",
        _MLJEC,
    ),
    "ml_jec/loss": Comparison(
        "masked absolute error",
        "ml-jec",
        "{sample} jets",
        "tests/test_jec_network.py::test_the_masked_loss_is_that_of_the_original",
        ("torch",),
        "jec.md",
        ("mljec/loss_mae.npz",),
    ),
    "statistics/fit": Comparison(
        "parameters and uncertainties of a fit",
        "cabinetry and pyhf",
        "{sample} workspace",
        "tests/test_templates.py::test_the_fit_is_that_of_cabinetry",
        ("cabinetry", "pyhf"),
        "search.md#fits",
    ),
    "statistics/limits": Comparison(
        "CLs at observed and expected limits",
        "pyhf",
        "{sample} limits of a search with many bins, each in two forms",
        "tests/test_templates.py::test_templates_of_many_bins_are_fitted_by_pyhf",
        ("pyhf",),
        "search.md",
    ),
    "statistics/bernstein": Comparison(
        "Bernstein polynomials of transfer factors",
        "scipy's `BPoly`",
        "{sample} points, orders 0 to 4",
        "tests/test_transfer.py::test_the_basis_is_that_of_scipy",
        ("scipy",),
        "search_backgrounds.md",
    ),
    "statistics/searchfit": Comparison(
        "pulls, correlations, goodness of fit, significance",
        "cabinetry and pyhf, with MINUIT",
        "{sample} workspace",
        "tests/test_searchfits.py::test_cabinetry_finds_the_same",
        ("cabinetry", "pyhf"),
        "search.md#fits",
    ),
    "statistics/rabbit": Comparison(
        "yields in a card of combine",
        "rabbit's reader of cards",
        "{sample} card",
        "tests/test_search_cards.py::test_another_reader_finds_what_is_in_the_templates",
        ("rabbit-fit",),
        "search.md#the-cards-of-cms-combine",
        unit="events",
    ),
    "corrections/coffea": Comparison(
        "pt and masses of corrected and smeared jets, with variations",
        "coffea's `CorrectedJetsFactory` and correctionlib",
        "{sample} random AK4 jets",
        "tests/test_search_energy.py::test_jets_are_those_of_coffea",
        ("coffea", "correctionlib"),
        "search_objects.md",
        unit="GeV",
    ),
    "explain/saliency": Comparison(
        "derivatives of a logit with respect to inputs",
        "captum",
        "{sample} random jets",
        "tests/test_explain_captum.py::test_saliency_is_captums",
        ("captum", "torch"),
        "explain.md",
    ),
    "explain/integrated": Comparison(
        "integrated gradients, over the largest of them",
        "captum with 400 steps",
        "{sample} random jets",
        "tests/test_explain_captum.py::test_integrated_gradients_are_captums",
        ("captum", "torch"),
        "explain.md",
    ),
    "learning/metrics": Comparison(
        "accuracy and area under the ROC curve, weighted",
        "scikit-learn",
        "{sample} random jets of three classes",
        "tests/test_finetuning_resume.py::test_metrics_of_classes_are_those_of_scikit_learn",
        ("scikit-learn",),
        "finetuning.md",
    ),
    "learning/robust_scales": Comparison(
        "medians and quartiles of inputs",
        "scikit-learn's `RobustScaler`",
        "{sample} random numbers",
        "tests/test_jec_building.py::test_robust_scales_are_those_of_scikit_learn",
        ("scikit-learn",),
        "jec.md",
    ),
    "learning/xgboost": Comparison(
        "boosted trees as ONNX",
        "XGBoost",
        "{sample} random jets",
        "tests/test_architectures.py::test_onnx_of_trees_equals_xgboost",
        ("xgboost-cpu", "onnxruntime"),
        "finetuning.md",
    ),
    "learning/hep_ml": Comparison(
        "weights of boosted reweighting",
        "hep_ml",
        "{sample} random jets",
        "tests/test_reweighting.py::test_boosted_weights_are_those_of_hep_ml_and_bring_the_spectra_together",
        ("hep_ml",),
        "decorrelation.md",
    ),
    "learning/divergence": Comparison(
        "Jensen-Shannon divergence of spectra",
        "scipy",
        "{sample} spectra",
        "tests/test_reweighting.py::test_factors_are_limited_and_bins_without_jets_are_counted",
        ("scipy",),
        "decorrelation.md",
    ),
    "learning/dcor": Comparison(
        "distance correlation",
        "dcor",
        "up to {sample} random rows",
        "tests/test_distance.py::test_both_forms_are_those_of_dcor",
        ("dcor",),
        "decorrelation.md",
    ),
    "kinematics/momenta": Comparison(
        "momenta and energies from pt, eta, phi, mass",
        "vector",
        "{sample} random particles",
        "tests/test_kinematics.py::test_momenta_are_those_of_vector",
        ("vector",),
        unit="GeV",
    ),
    "kinematics/distances": Comparison(
        "distances in eta and phi",
        "vector",
        "{sample} pairs of random particles",
        "tests/test_kinematics.py::test_distances_of_all_pairs_are_those_of_vector",
        ("vector",),
    ),
    "runtimes/openvino": Comparison(
        "outputs of OpenVINO, a network with the interface of GloParT V1",
        "ONNX Runtime",
        "{sample} random jets",
        "tests/test_acceleration.py::test_openvino_gives_the_same",
        ("openvino", "onnxruntime"),
        "scaling.md",
    ),
}
