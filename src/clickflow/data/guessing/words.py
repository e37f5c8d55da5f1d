"""Words in which logs name their columns.

A name is taken apart into words: ``reviewerID``, ``reviewer_id``, ``reviewer-id`` and ``reviewerid`` are the same two.
"""

import re
from collections.abc import Collection


def normal(value: object) -> str:
    """A value as the words here are written: ``No Click`` is ``no_click``."""
    return str(value).strip().lower().replace(" ", "_")


def _words(*texts: str) -> frozenset[str]:
    return frozenset(" ".join(texts).split())


USER = _words(
    "user usr uid userid visitor customer cust client member reviewer buyer account person people listener reader",
    "subscriber shopper player",
    "viewer guest passenger patient student learner follower",
)
WEAK_USER = _words("device cookie ip session household browser")
"""Say who somebody is where nothing better does."""
ITEM = _words(
    "item iid itemid asin news article product sku movie film video song track ad adgroup creative goods good offer listing",
    "book game content",
    "doc document post isbn restaurant business hotel recipe episode podcast job poi venue photo banner candidate beer app",
)
WEAK_ITEM = _words("pid sid artist playlist show store shop campaign property")
IDENTIFIER = _words("id ids no nr number num key hash hashed code uuid guid idx index raw anon anonymous token parent")
TIME = _words("timestamp timestamps time ts date datetime unix when moment seen at created occurred hour clock epoch day utc ms sec")
CLICK = _words("click clicked clicks clk label labels target y")
OUTCOME = _words("response outcome converted conversion purchased bought installed opened read positive relevance relevant")
"""Say what became of an impression, where there is no column of clicks."""
NEGATION = _words("non no not un never nonclk noclick unclicked")
RATING = _words("rating ratings overall stars star score rate grade")
KIND = _words("event action behavior behaviour btag activity interaction operation op")
TYPE = _words("type kind name tag")
SPLIT = _words("split set fold partition subset")
GROUP = _words("request impression imp session page search query list slate serp display auction")
HISTORY = _words("history hist histories past previous prev sequence seq behaviors behaviours recent viewed")
SHOWN = _words("inview impressions impression candidates shown slate displayed recommended exposed")
LATER = _words(
    "like liked follow followed comment commented forward hate share shared play played watch watched dwell stay view",
    "viewed enter purchase purchased",
    "buy bought conversion converted cart revenue vote votes helpful nonclk noclick read completion skipped",
)
"""Say what happened after an impression, which nobody knows when it is scored."""
QUANTITY = _words(
    "price amount count cnt num number age duration length len size width height quantity qty total sum ratio share eur usd",
    "days minutes",
    "seconds year weight score",
)
NAME = _words(
    "id ids code category categories cat cate type brand tag level class group country city region os browser zip hour", "hourmin weekday"
)
"""Say that numbers are names."""
OF_ITEM = ITEM | _words("category categories cat cate brand genre genres price author publisher colour color")
OF_USER = USER | _words("age gender sex occupation")
OF_SITUATION = _words("device hour weekday position page slot placement os browser scenario tab channel query")
SHOWN_KINDS = _words("impression impressions imp show shown exposure exposed display displayed skip noclick no_click")
CLICK_KINDS = _words("click clicked clk tap")
REMOVAL_KINDS = _words("remove removed remove_from_cart removefromcart delete unlike dislike unfavorite uncart refund return")
KINDS = (
    SHOWN_KINDS
    | CLICK_KINDS
    | REMOVAL_KINDS
    | _words(
        "view viewed pv ipv detail cart addtocart add_to_cart fav favorite favourite collect buy bought purchase purchased",
        "transaction order like",
        "share play watch wishlist follow comment read open clickout",
    )
)
"""Kinds of behaviour, as logs write them."""
GLUED = re.compile(r"^(.{2,}?)_?(id|ids|key|hash|code|time|date|type)$")
KNOWN = USER | WEAK_USER | ITEM | WEAK_ITEM | GROUP | KIND | _words("category cate transaction author brand")


def words_of(name: str) -> frozenset[str]:
    """The words of a column's name.

    >>> sorted(words_of("reviewerID")), sorted(words_of("visitorid")), sorted(words_of("user_id:token")), sorted(words_of("is_click"))
    (['id', 'reviewer'], ['id', 'visitor'], ['id', 'user'], ['click', 'is'])
    """
    name = re.sub(r":(token|float)(_seq)?$", "", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    found: set[str] = set()
    for word in re.findall(r"[^\W_]+", name.lower()):
        glued = GLUED.match(word)
        found |= {glued[1], glued[2]} if glued and glued[1] in KNOWN else {word}
    return frozenset(found)


def is_named(words: Collection[str], role: frozenset[str]) -> bool:
    """Whether a name says this role and nothing else: ``user_id`` but not ``user_age``.

    >>> is_named({"user", "id"}, USER), is_named({"user", "age"}, USER), is_named({"id"}, USER)
    (True, False, False)
    """
    rest = set(words) - IDENTIFIER
    return bool(rest) and rest <= role
