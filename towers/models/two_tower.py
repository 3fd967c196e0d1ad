"""A user tower and a video tower whose inner product says what a user will watch."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from towers.data import TIME_UNKNOWN, Encoders
from towers.data.vocabulary import UNKNOWN_ROW
from towers.features import CONTEXT_SIZES, Batch, FeatureTensors, context_codes
from towers.models.config import LEAST_TEMPERATURE, ModelConfig
from towers.models.feature_bag import FeatureBag
from towers.models.hashing import places_of, table_size, vectors_at
from towers.models.history import Clock
from towers.models.history.dropout import ByteDropout
from towers.types import ConfigError, Geometry


class TwoTower(nn.Module):
    """Both towers. Neither needs a user id: a user is a history, features and a moment.

    With `user_id`, a user who was met in training is a vector as well, which is added to the state of the history. It
    begins at zero, where it changes nothing; whoever was not met has that of the unknown row.

    With `popularity=recent`, vectors are one longer: a video's ends in the log of its share of recent views, a query's
    in how much its user leans on that. Their product is still all that there is to a score, but no more a cosine.

    Args:
        config: Shape.
        encoders: Of the dataset's features.
        known: Whether a video's id was seen in training, [rows]; others share the unknown row's vector.
        known_users: The same of users, [user rows]; needed with `user_id` alone.

    Attributes:
        dim: Size of the vectors that come out, with the coordinate for popularity if there is one.
        geometry: How they are compared.
    """

    def __init__(
        self, config: ModelConfig, encoders: Encoders, known: Tensor, known_users: Tensor | None = None
    ) -> None:
        super().__init__()
        if not config.dim or not config.window:
            raise ConfigError("model.dim or model.window is 0, which `train` fills in; towers built by hand need both")
        config = replace(config, history=config.history.choice(config.window))
        self.config, self.encoders = config, encoders
        self.geometry = Geometry.dot if config.leans else config.geometry
        self.dim, self.window = config.dim + config.leans, config.window
        self.known: Tensor
        self.register_buffer("known", known)
        self.ids = nn.Embedding(table_size(len(known), config.id_buckets), config.dim)
        nn.init.normal_(self.ids.weight, std=(2 * config.dim if config.id_buckets else config.dim) ** -0.5)
        self.known_users: Tensor
        self.register_buffer("known_users", known_users if config.user_id else None)
        self.user_ids = _own_vectors(config, known_users) if config.user_id else None
        self.video_features = FeatureBag(encoders.videos if config.features else (), config.dim)
        self.start = nn.Parameter(torch.randn(config.dim) * config.dim**-0.5)
        self.history = config.history.build(config.dim, config.window)
        self.user_features = FeatureBag(encoders.users if config.features else (), config.dim)
        tables = [nn.Embedding(size, config.dim, padding_idx=0) for size in CONTEXT_SIZES]
        for table in tables:
            nn.init.zeros_(table.weight)
        self.context = nn.ModuleList(tables)
        hidden = 2 * config.dim
        self.join = nn.Sequential(
            nn.Linear(self.history.width + config.dim, hidden),
            nn.GELU(),
            ByteDropout(config.dropout),
            nn.Linear(hidden, config.interests * config.dim),
        )
        self.level: Tensor
        if config.leans:
            self.register_buffer("level", torch.zeros(len(known)))
            self.lean = nn.Linear(self.history.width + config.dim, 1)
            nn.init.zeros_(self.lean.weight)
            nn.init.constant_(self.lean.bias, -1.0)
        self.event_dropout = ByteDropout(config.dropout)
        self.log_scale = nn.Parameter(
            -torch.tensor(config.first_temperature).log(), requires_grad=config.learn_temperature
        )

    @property
    def scale(self) -> Float[Tensor, ""]:
        """1 / temperature."""
        return self.log_scale.exp()

    def bound_temperature(self) -> None:
        """Keep a learned temperature from running away below the least one; called after a step."""
        with torch.no_grad():
            self.log_scale.clamp_(max=-math.log(LEAST_TEMPERATURE))

    def _finish(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, dim=-1) if self.config.geometry is Geometry.cosine else vectors

    def tell(self, level: Float[Tensor, " rows"]) -> None:
        """Take over how popular the videos are now, as :class:`towers.features.Trend` has it, [rows]."""
        self.level.copy_(level)

    def begin_ids(self, vectors: Float[Tensor, "rows d"]) -> None:
        """Let ids begin at vectors, [rows, d]; where a vector is zero, or places are shared, they begin at random."""
        if self.config.id_buckets:
            return
        with torch.no_grad():
            self.ids.weight.copy_(torch.where(vectors.any(1, keepdim=True), vectors, self.ids.weight))

    def stand(self, vectors: Float[Tensor, "rows d"], start: Float[Tensor, " d"], lean: float) -> None:
        """Become towers that need no training: a query is the mean of the start and of what was watched.

        Args:
            vectors: Of the videos, [rows, d]; zero for those that nobody watched, which come late: by popularity, or
                where there is no term for it, since they lie opposite to the start, at a video's length of 1.
            start: What a user without a past is, [d].
            lean: How much every query leans on popularity.
        """
        with torch.no_grad():
            unwatched = torch.zeros_like(start) if self.config.leans else -nn.functional.normalize(start, dim=0)
            self.ids.weight.copy_(torch.where(vectors.any(1, keepdim=True), vectors, unwatched))
            self.start.copy_(start)
            for weight in [*self.join[-1].parameters(), *(self.lean.parameters() if self.config.leans else ())]:
                weight.zero_()
            if self.config.leans:
                self.lean.bias.fill_((lean * self.scale).expm1().log())

    def continue_from(self, other: "TwoTower") -> None:
        """Take the weights of other towers; videos and users whose id they did not know begin as the unknown one's."""
        state = other.state_dict()
        tables = {"ids.weight": ("known", self.config.id_buckets)}
        if self.user_ids is not None:
            tables["user_ids.weight"] = ("known_users", self.config.user_id_buckets)
        for name, (known, buckets) in tables.items():
            if not buckets:
                state[name] = state[name].clone()
                state[name][self.get_buffer(known) & ~state[known]] = state[name][UNKNOWN_ROW].clone()
        kept = {"known", "known_users", "level"}
        self.load_state_dict(state | {name: value for name, value in self.named_buffers() if name in kept})

    def videos(self, rows: Int64[Tensor, " m"], features: FeatureTensors) -> Float[Tensor, "m d"]:
        """Return the videos' vectors, [m, d].

        Args:
            rows: Dataset rows of the videos, [m]; 1 for a video that came after training.
            features: Their features, [m].
        """
        content = self._content(rows, features)
        return torch.cat([content, self.level[rows, None]], dim=1) if self.config.leans else content

    def _content(self, rows: Int64[Tensor, " m"], features: FeatureTensors) -> Float[Tensor, "m w"]:
        """Return the videos' vectors without the coordinate for popularity, which is none of a history's business."""
        keep = self.known[rows]
        if self.training and self.config.id_dropout:
            keep = keep & (torch.rand(len(rows), device=rows.device) >= self.config.id_dropout)
        places = places_of(torch.where(keep, rows, UNKNOWN_ROW), self.config.id_buckets)
        return self._finish(vectors_at(self.ids, places) + self.video_features(features))

    def user_places(self, rows: Int64[Tensor, " n"]) -> Int64[Tensor, "n p"]:
        """Return where `user_ids` holds what adds up to each user's own vector, [n, 1 or 2].

        Args:
            rows: Dataset rows of the users, [n]; 1 for a user who came after training.
        """
        return places_of(torch.where(self.known_users[rows], rows, UNKNOWN_ROW), self.config.user_id_buckets)

    def states(
        self,
        events: Float[Tensor, "b h d"],
        state: Int64[Tensor, "b t"],
        users: FeatureTensors,
        time_ms: Int64[Tensor, "b s"],
    ) -> Float[Tensor, "b t *i d"]:
        """Return the query after the given numbers of events, [b, t, d]; [b, t, interests, d] if there are several.

        Args:
            events: Vectors of the watched videos, oldest first, [b, h, d].
            state: After how many events each query is asked, [b, t]; 0 to h.
            users: Features of each window's user, [b].
            time_ms: When each event happened and, after a row's last one, when the query is asked, UTC,
                [b, h + 1]; TIME_UNKNOWN where that is not known.
        """
        queries, known = self._ask(events[..., : self.config.dim], state, users, time_ms)
        if not self.config.leans:
            return queries
        return _beside(queries, self._leaning(known) * self.config.strength)

    def _ask(
        self,
        events: Float[Tensor, "b h w"],
        state: Int64[Tensor, "b t"],
        users: FeatureTensors,
        time_ms: Int64[Tensor, "b s"],
    ) -> tuple[Float[Tensor, "b t *i w"], Float[Tensor, "b t k"]]:
        """Return the queries without the coordinate for popularity, and all that is known of who asks."""
        clock = self._clock(time_ms)
        moment = self._moment(clock.asked_ms.gather(1, state))
        if self.training and self.config.history_dropout:
            state = state * (torch.rand(state.shape, device=state.device) >= self.config.history_dropout)
        start = self.start.expand(len(events), 1, -1)
        watched = self.history(torch.cat([start, self.event_dropout(events)], dim=1), clock)
        window = torch.arange(len(state), device=state.device)[:, None]
        watched = _rows(watched.flatten(0, 1), state + watched.shape[1] * window)
        if self.user_ids is not None:
            # To each of the vectors that a state is made of; it is one, or one for each head.
            parts = watched.view(*state.shape, -1, self.config.dim)
            watched = (parts + self._own(self.user_ids, users.rows, state.shape[1])).flatten(2).to(watched.dtype)
        if self.training and self.config.user_dropout:
            users = users.without(torch.rand(len(events), device=events.device) < self.config.user_dropout)
        about = self.user_features(users)[:, None] + moment
        known = torch.cat([watched, about.to(watched.dtype)], dim=-1)
        return self._interests(self.join(known), watched), known

    def _own(self, table: nn.Embedding, rows: Int64[Tensor, " b"], queries: int) -> Float[Tensor, "b t 1 d"]:
        """Return users' own vectors, for all queries of a window or for each of them, [b, 1 or t, 1, d]."""
        # Asked for at once: where rows are dealt out, every call goes round.
        vectors = vectors_at(table, self.user_places(functional.pad(rows, (0, 1), value=UNKNOWN_ROW)))
        own, unknown = vectors[:-1, None, None], vectors[-1]
        if not self.training or not self.config.user_id_dropout:
            return own
        kept = torch.rand(len(rows), queries, 1, 1, device=rows.device) >= self.config.user_id_dropout
        return torch.where(kept, own, unknown)

    def _interests(self, joined: Float[Tensor, "b t j"], watched: Float[Tensor, "b t k"]) -> Float[Tensor, "b t *i w"]:
        """Return the queries: each adds to a vector of the state, another one as far as the state has several."""
        dim, count = self.config.dim, self.config.interests
        if count == 1:
            return self._finish(joined + watched[..., :dim])
        vectors = watched.view(*watched.shape[:2], -1, dim)
        taken = torch.arange(count, device=watched.device) % vectors.shape[2]
        return self._finish(joined.view(*joined.shape[:2], count, dim) + vectors[:, :, taken])

    def _leaning(self, known: Float[Tensor, "b t k"]) -> Float[Tensor, "b t 1"]:
        """Return how much each query leans on popularity: times the temperature, by which all scores are divided."""
        return functional.softplus(self.lean(known)) / self.scale

    def _clock(self, time_ms: Int64[Tensor, "b s"]) -> Clock:
        """Return when the start and the events happened, and when each state is asked: when the next one happens."""
        happened = torch.cat([torch.full_like(time_ms[:, :1], TIME_UNKNOWN), time_ms[:, :-1]], dim=1)
        if not self.training:
            return Clock(happened, time_ms)
        timeless = torch.rand(len(time_ms), 1, device=time_ms.device) < self.config.time_dropout
        unasked = torch.rand(time_ms.shape, device=time_ms.device) < self.config.context_dropout
        return Clock(happened.masked_fill(timeless, TIME_UNKNOWN), time_ms.masked_fill(unasked, TIME_UNKNOWN))

    def _moment(self, asked_ms: Int64[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        codes = context_codes(asked_ms)
        return torch.stack([table(codes[..., i]) for i, table in enumerate(self.context)]).sum(0)

    def forward(self, batch: Batch) -> tuple[Float[Tensor, "b h d"], Float[Tensor, "m d"]]:
        """Return the queries before each target, [b, h, d], and the batch's videos, [m, d].

        Where there are several queries it is the one that scores the target best: it alone learns from it.

        Source:
            Cen et al. 2020, Controllable Multi-Interest Framework for Recommendation (ComiRec), section 3.2.
        """
        queries, vectors = self.queries(batch)
        if self.config.interests == 1:
            return queries, vectors
        with torch.no_grad():
            best = torch.einsum("bhid,bhd->bhi", queries, vectors[batch.target]).argmax(-1)
        return queries.gather(2, best[..., None, None].expand(-1, -1, 1, queries.shape[-1])).squeeze(2), vectors

    def queries(self, batch: Batch) -> tuple[Float[Tensor, "b h *i d"], Float[Tensor, "m d"]]:
        """Return all queries before each target, as `states` does, and the batch's videos, [m, d].

        Where the batch tells how popular the videos were day by day, there is a coordinate for each day, and a
        query has its lean in that of its own day: popularity is what was known at the moment of each target.
        """
        if batch.levels is None or batch.day is None:
            vectors = self.videos(batch.rows, batch.videos)
            events = _rows(vectors, batch.history[:, 1:].clamp(min=0))
            return self.states(events, batch.state, batch.users, batch.time_ms), vectors
        content = self._content(batch.rows, batch.videos)
        events = _rows(content, batch.history[:, 1:].clamp(min=0))
        queries, known = self._ask(events, batch.state, batch.users, batch.time_ms)
        days = functional.one_hot(batch.day, batch.levels.shape[1]) * self._leaning(known)
        return _beside(queries, days), torch.cat([content, batch.levels], dim=1)


def _own_vectors(config: ModelConfig, known_users: Tensor | None) -> nn.Embedding:
    """Return a table of zeros for users' own vectors."""
    if known_users is None:
        raise ConfigError("model.user_id is true, and known_users is missing: towers built by hand need it")
    places = table_size(len(known_users), config.user_id_buckets, "user_id_buckets")
    zeros = torch.zeros(places, config.dim)
    table: nn.Embedding = nn.Embedding.from_pretrained(zeros, freeze=False)  # type: ignore[no-untyped-call]
    return table


def _rows(table: Float[Tensor, "n w"], places: Int64[Tensor, "b t"]) -> Float[Tensor, "b t w"]:
    """Return rows of a table; gradients are added a row at a time, where gather and indexing are far slower."""
    return table.index_select(0, places.flatten()).view(*places.shape, table.shape[-1])


def _beside(queries: Float[Tensor, "b t *i w"], more: Float[Tensor, "b t p"]) -> Float[Tensor, "b t *i wp"]:
    """Return the queries with further coordinates, the same for all queries of a moment."""
    if queries.ndim > more.ndim:
        more = more[:, :, None].expand(-1, -1, queries.shape[2], -1)
    return torch.cat([queries, more], dim=-1)
