"""What the towers can be told."""

from dataclasses import dataclass, field
from enum import Enum

from towers.kinds import check_kinds
from towers.models.history import AutoHistory, History
from towers.types import ConfigError, Geometry

LEAST_TEMPERATURE = 0.01


class PopularityTerm(Enum):
    """What popularity is to a score."""

    auto = "auto"
    """recent where the log's events have times, else total; training chooses."""
    none = "none"
    """Nothing but what training makes of it."""
    recent = "recent"
    """A term of its own, by how often a video was watched of late: for logs whose events have times."""
    total = "total"
    """A term of its own, by how often a video was watched at all: for logs whose events have none."""


@dataclass(kw_only=True)
class ModelConfig:
    """Shape of both towers."""

    history: History = field(default_factory=AutoHistory)
    """How what was watched becomes a state."""
    dim: int = 0
    """Size of a user's and a video's vector; 0 lets training choose by the number of events."""
    window: int = 0
    """Events of a history that are read, older ones are forgotten; 0 lets training choose by the histories' lengths."""
    geometry: Geometry = Geometry.cosine
    """How vectors are compared; cosine vectors have length 1."""
    temperature: float | None = None
    """Divides the scores before the softmax; where learned, the value to begin with. Unless given, training takes .1,
    and .15 where the log is thin (fewer than 15 positive events for each video that has any). Recommendation: as
    chosen; on a tenth of Gowalla's users .273 of valid is in the first 100 at .15 and .257 at .1, on samples of
    KuaiRand's, whose videos have features, they are alike; on all of Gowalla .398 and .410 (one seed each)."""
    learn_temperature: bool = False
    """Whether the temperature is trained. Recommendation: false; true, from .07, for an epoch or two, which then get
    further with it. What a longer one learns, .04 to .07, suits the events it learns from and not what comes after:
    recall@100 of valid is .410 at a fixed .1 and .388 learned on Gowalla, .646 and .616 on a tenth of the films' users,
    .257 and .245 on a tenth of Gowalla's, .395 (.15) and .354 on a twelfth of KuaiRand's, and .485 either way on all of
    it (one seed each). Source: Wang and Liu 2021, Understanding the Behaviour of Contrastive Loss, section 4: a low one
    looks at the hardest candidates alone, and drives apart what belongs together."""
    spectral: bool = True
    """Whether ids begin near those that the same users watched, instead of anywhere: saves several epochs. Ids that
    share tables (id_buckets) begin anywhere. Recommendation: true, also where epochs are many: on Gowalla a random
    start recalls .093 in the first 20 after three epochs, this one .168 (dim 64). Source: Shen et al. 2021, How
    Powerful is Graph Convolution for Recommendation?, section 4, whose leading directions they are."""
    features: bool = True
    """Whether the towers read the features of users and videos; without them a new video is like any other new one.
    Recommendation: true; on KuaiRand worth .415 against .401 (recall@100, dim 64). Source: Covington et al. 2016, Deep
    Neural Networks for YouTube Recommendations, section 3.3: a vector for each value, the mean of several."""
    id_buckets: int = 0
    """Size of each of two tables whose sum of two rows is a video's id, no two ids alike: for catalogues of which a
    table would be too large. 0 gives each video a row of its own. Recommendation: 0 as long as memory allows. Source:
    Shi et al. 2020, Compositional Embeddings Using Complementary Partitions."""
    id_min_count: int | None = None
    """Positive events of training from which on a video has an id; rarer ones share that of unknown videos, and are
    told apart by their features alone. Unless given, training takes 3 where a log is thin and any feature is more than
    a number, else 1. Recommendation: as chosen; figures at id_dropout. Source: Liu et al. 2022, Monolith: ids are let
    into its hash table by their frequency."""
    id_expiry_days: float = 0.0
    """Days after its last positive event, counted back from the newest of all, from which on a video has no id of its
    own any more, as if it were rare; 0 keeps all. Events without a time keep theirs. Recommendation: 0, days where old
    videos stay in the catalogue but are hardly watched. Source: Liu et al. 2022, Monolith, whose ids expire."""
    id_dropout: float | None = None
    """Share of a batch's videos that must do without their id, so that features alone can carry one; unless given,
    training takes .1 where videos have features, .3 where the log is thin too and any feature is more than a number,
    else 0. Recommendation: as chosen. On KuaiRand 0 and .1 differ by less than the interval (recall@100 .415 and .422,
    dim 64, one seed); of a twelfth of its users, .3 and id_min_count=3 recall .404 of valid in the first 100 where .1
    and 1 recall .395 (one seed); on Gowalla, whose places have no features, .1 recalls .197 of valid in the first 20
    where 0 recalls .208 (dim 64, two epochs, one seed). Source: Volkovs et al. 2017, DropoutNet."""
    user_id: bool = False
    """Whether a user who was met in training has a vector of their own, added to the state of their history; all
    others share that of the unknown user, so who came a second ago is served as before. Recommendation: false where
    the window holds most of a history, which then says the same. On Gowalla, windows of 100, towers with it recall
    .2016 of valid in the first 20 (.2000 at user_id_dropout=0), without it .2021 (dim 64, three epochs, one seed). Try
    it where the last events hide a lasting taste, or windows have to be short. Source: Wu et al. 2020, SSE-PT, where
    users' vectors, exchanged at random in training, are worth almost 5% of ndcg@10 to a transformer."""
    user_id_buckets: int = 0
    """As id_buckets, of users: for so many that a table of them would be too large."""
    user_id_min_count: int = 1
    """Positive events of training from which on a user has a vector of their own."""
    user_id_dropout: float = 0.5
    """Share of training queries that must do without the user's own vector, so that the history alone can carry one."""
    dropout: float = 0.2
    """Share of hidden units, and of history events' coordinates, that a step leaves out."""
    user_dropout: float = 0.1
    """Share of training windows whose user must do without features, as an unknown user has to."""
    context_dropout: float = 0.5
    """Share of training queries that must do without their moment, as one that is asked at an unknown time has to."""
    time_dropout: float = 0.1
    """Share of training windows that must do without their events' times, as a history given without has to."""
    history_dropout: float = 0.05
    """Share of training queries that must do without history, as a new user has to."""
    interests: int = 1
    """Queries of each user; a video's score is the best of them, and each target trains the one that scores it best.
    Recommendation: 1. On KuaiRand 4 recall .444 of valid in the first 100 where 1 recalls .452 (dim 64, three epochs),
    for a third more processor time; try more where users' tastes are too many for one vector of the given dim.
    Source: Cen et al. 2020, Controllable Multi-Interest Framework for Recommendation, section 3.2."""
    popularity: PopularityTerm = PopularityTerm.auto
    """Whether scores have a term for popularity: auto, none, recent or total. Users lean on it as their state asks.
    Recommendation: auto, which is recent where times are known, else total; on KuaiRand recall@100 is .419 with it and
    .406 without (dim 64, one seed), of a valid of Gowalla's latest fifth .388 and .383, of films' .714 and .709 (the
    fast recipe, four epochs). Source: as of popularity_strength."""
    popularity_days: float = 4.0
    """After how many days a view counts half towards the popularity of late."""
    popularity_strength: float | None = None
    """By how much the trained term is multiplied when vectors are made: below 1 holds back what everybody watches.
    Unless given, training takes what is best on valid, of .5 to 4. Recommendation: as chosen to find what will be
    watched (on KuaiRand 2 recalls .4844 of valid in the first 100 where 1 recalls .4789; one seed), less to show more
    of the catalogue. Source: Zhang et al. 2021, Causal Intervention for Leveraging Popularity Bias in Recommendation:
    learned with it, shown as one likes."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.")
        for name in ("dim", "window"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; expected at least 1, or 0 for a choice")
        least = {
            "interests": 1,
            "id_buckets": 0,
            "id_min_count": 1,
            "id_expiry_days": 0,
            "user_id_buckets": 0,
            "user_id_min_count": 1,
            "popularity_strength": 0,
        }
        for name, value in least.items():
            if getattr(self, name) is not None and not getattr(self, name) >= value:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; expected at least {value}")
        if self.temperature is not None and not self.temperature >= LEAST_TEMPERATURE:
            raise ConfigError(
                f"model.temperature is {self.temperature}; expected at least {LEAST_TEMPERATURE}, usually .05 to .2"
            )
        shares = ("dropout", *(f"{of}_dropout" for of in ("id", "user_id", "user", "context", "time", "history")))
        for name in shares:
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; expected from 0 to 1")
        if not self.popularity_days > 0:
            raise ConfigError(f"model.popularity_days is {self.popularity_days}; expected above 0")

    @property
    def first_temperature(self) -> float:
        """What scores are divided by, or begin to be; .1 while that is open."""
        return 0.1 if self.temperature is None else self.temperature

    @property
    def strength(self) -> float:
        """By how much the trained term for popularity is multiplied; 1 while that is open."""
        return 1.0 if self.popularity_strength is None else self.popularity_strength

    @property
    def leans(self) -> bool:
        """Whether there is a term for popularity."""
        return self.popularity in {PopularityTerm.recent, PopularityTerm.total}
