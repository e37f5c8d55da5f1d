"""Small files in the layouts of public logs, with random ids and no signal.

Names of files and columns, their order, separators and the way times are written are those of the originals.
"""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROWS = 600
START = 1_500_000_000


def write(path: Path, rows, header=None, separator=","):
    """Rows of values as lines; None is a blank."""
    lines = [header] if header else []
    lines += [separator.join("" if value is None else str(value) for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def write_json(path: Path, records):
    """One object per line, in gzip where the name says so."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def utc(seconds, text_format):
    return datetime.fromtimestamp(int(seconds), UTC).strftime(text_format)


def criteo(folder: Path, rng: np.random.Generator):
    """Label, 13 integers, 26 hashed categories; no header, no user, no time; blanks are missing."""
    sizes = [30, 60, 400, 300, 20, 8, 300, 40, 3, 350, 300, 380, 280, 15, 300, 350, 10, 250, 120, 4, 360, 9, 12, 320, 40, 290]
    words = [[f"{value:08x}" for value in rng.integers(0, 2**32, size)] for size in sizes]

    def row():
        categories = [
            None if number > 20 and rng.random() < 0.3 else words[number][rng.integers(size)] for number, size in enumerate(sizes)
        ]
        return [int(rng.random() < 0.26), *(None if rng.random() < 0.2 else int(rng.lognormal(1.5, 1.6)) for _ in range(13)), *categories]

    write(folder / "train.txt", [row() for _ in range(ROWS)], separator="\t")


def avazu(folder: Path, rng: np.random.Generator):
    """One row per ad shown, hours as 14102100; hashed sites, apps and devices; C1 and C14 to C21 are anonymous."""
    header = (
        "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,device_ip,device_model,"
        "device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
    )
    sites = [[f"{value:08x}" for value in rng.integers(0, 2**32, size)] for size in (20, 15, 5, 25, 12, 6, 60, 150, 90)]
    rows = []
    for number in range(ROWS):
        site, app = int(rng.integers(20)), int(rng.integers(25))
        device, ad = int(rng.integers(60)), int(rng.integers(80))
        rows.append(
            [
                *(
                    10_000_000 + 37 * number * number + number,
                    int(rng.random() < 0.17),
                    int(f"1410{21 + number * 10 // ROWS}{rng.integers(24):02}"),
                ),
                *(1005 if rng.random() < 0.9 else 1002, int(rng.random() < 0.3), sites[0][site], sites[1][site % 15], sites[2][site % 5]),
                *(sites[3][app], sites[4][app % 12], sites[5][app % 6], sites[6][device], sites[7][rng.integers(150)], sites[8][device]),
                *(int(rng.integers(2)), int(rng.integers(3)), 15700 + ad, (320, 300)[ad % 2], (50, 250)[ad % 2], 1700 + ad % 30, ad % 4),
                *(35 + ad % 5, -1 if rng.random() < 0.4 else 100_000 + int(rng.integers(30)), 15 + ad % 10),
            ]
        )
    write(folder / "train.csv", rows, header)


def taobao(folder: Path, rng: np.random.Generator):
    """User, item, category, behaviour, seconds; sorted by user, no header."""
    rows = []
    for _ in range(ROWS):
        item = int(rng.integers(2_000, 2_120))
        behaviour = rng.choice(["pv", "cart", "fav", "buy"], p=[0.8, 0.1, 0.05, 0.05])
        rows.append([int(rng.integers(1, 60)) * 17, item * 11, 4_000_000 + item % 15, behaviour, START + int(rng.integers(0, 9 * 86_400))])
    write(folder / "UserBehavior.csv", sorted(rows))


def alimama(folder: Path, rng: np.random.Generator):
    """Ads shown, a table of ads, one of users, and behaviours with a category and a brand in place of an ad."""
    ads = [(ad, 4_000 + ad % 12, 90_000 + ad % 30, 60_000 + ad % 25, None if ad % 9 == 0 else 300_000 + ad % 20) for ad in range(500, 560)]
    priced = [[*ad, round(float(rng.lognormal(4, 1)), 1)] for ad in ads]
    write(folder / "ad_feature.csv", priced, "adgroup_id,cate_id,campaign_id,customer,brand,price")
    users = range(10_000, 10_050)
    profiles = [
        [
            user,
            *(int(rng.integers(high)) for high in (97, 13)),
            int(rng.integers(1, 3)),
            int(rng.integers(7)),
            rng.choice(["", 1, 2, 3]),
            3,
            user % 2,
            "",
        ]
        for user in users
    ]
    header = "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,new_user_class "
    write(folder / "user_profile.csv", profiles, header)
    samples = []
    for _ in range(ROWS):
        clicked = int(rng.random() < 0.2)
        pid = rng.choice(["430548_1007", "430539_1007"])
        samples.append(
            [
                int(rng.choice(users)),
                1_494_000_000 + int(rng.integers(0, 691_200)),
                ads[rng.integers(len(ads))][0],
                pid,
                1 - clicked,
                clicked,
            ]
        )
    write(folder / "raw_sample.csv", samples, "user,time_stamp,adgroup_id,pid,nonclk,clk")
    actions = []
    for _ in range(2 * ROWS):
        ad = ads[rng.integers(len(ads))]
        btag = rng.choice(["pv", "cart", "fav", "buy"])
        actions.append([int(rng.choice(users)), 1_492_000_000 + int(rng.integers(0, 2_600_000)), btag, ad[1], ad[4] or 399_999])
    write(folder / "behavior_log.csv", actions, "user,time_stamp,btag,cate,brand")


def kuairand(folder: Path, rng: np.random.Generator):
    """One row per video shown, with twelve sorts of feedback; tables of users and of videos."""
    header = (
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,"
        "profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
    )
    durations = rng.integers(5_000, 300_000, 120)
    rows = []
    for _ in range(ROWS):
        user, video = int(rng.integers(40)), int(rng.integers(120))
        time_ms = 1_650_400_000_000 + int(rng.integers(0, 14 * 86_400_000))
        click = int(rng.random() < 0.4)
        feedback = [click, *(int(rng.random() < share) for share in (0.1, 0.02, 0.02, 0.01, 0.01)), click * int(rng.random() < 0.5)]
        seen = [
            int(durations[video] * rng.random()) if click else 0,
            durations[video],
            0,
            int(rng.integers(0, 900)) * click,
            int(rng.random() < 0.02),
        ]
        rows.append(
            [user, video, utc(time_ms / 1000, "%Y%m%d"), utc(time_ms / 1000, "%H00"), time_ms, *feedback, *seen, 0, int(rng.integers(5))]
        )
    write(folder / "log_standard_4_08_to_4_21_1k.csv", rows, header)
    onehot = ",".join(f"onehot_feat{number}" for number in range(18))
    users = [
        [
            user,
            rng.choice(["full_active", "high_active", "UNKNOWN"]),
            user % 2,
            0,
            user % 3 % 2,
            5 * user,
            "(10,50]",
            7 * user % 11,
            "[1,10)",
            3,
            "[1,5)",
        ]
        + [100 + 9 * user, "61-90"]
        + [int(rng.integers(4)) for _ in range(18)]
        for user in range(40)
    ]
    write_users = [[f'"{value}"' if "," in str(value) else value for value in user] for user in users]
    write(
        folder / "user_features_1k.csv",
        write_users,
        "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,follow_user_num_range,fans_user_num,"
        f"fans_user_num_range,friend_user_num,friend_user_num_range,register_days,register_days_range,{onehot}",
    )
    videos = []
    for video in range(120):
        tag = f'"{video % 7},{video % 5 + 20}"' if video % 3 == 0 else video % 7
        uploaded = f"2022-04-{1 + video % 28:02}"
        videos.append(
            [
                *(video, 900 + video % 35, "NORMAL" if video % 10 else "AD", uploaded, "ShortImport", "public" if video % 4 else "private"),
                *(int(durations[video]), 720, 1280, 5_000 + video % 40, 9, tag),
            ]
        )
    header = (
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
        "music_id,music_type,tag"
    )
    write(folder / "video_features_basic_1k.csv", videos, header)


def mind(folder: Path, rng: np.random.Generator):
    """Lists of news with a click each and a ready-made history; tabs, no header, quotes in titles."""
    news = [f"N{10_000 + 7 * number}" for number in range(90)]
    rows = []
    for number in range(ROWS // 4):
        user, moment = f"U{500 + int(rng.integers(40))}", datetime.fromtimestamp(1_573_257_600 + int(rng.integers(0, 6 * 86_400)), UTC)
        history = " ".join(rng.choice(news, int(rng.integers(0, 9))))
        shown = rng.choice(news, int(rng.integers(2, 8)), replace=False)
        clicked = int(rng.integers(len(shown)))
        impressions = " ".join(f"{item}-{int(place == clicked)}" for place, item in enumerate(shown))
        time = f"{moment.month}/{moment.day}/{moment.year} {moment.hour % 12 or 12}:{moment:%M:%S} {'AM' if moment.hour < 12 else 'PM'}"
        rows.append([number + 1, user, time, history, impressions])
    write(folder / "behaviors.tsv", rows, separator="\t")
    sorts = ["news", "sports", "lifestyle", "finance"]
    table = []
    for number, item in enumerate(news):
        sort = sorts[number % 4]
        title = f'What the "{sort}" pages of day {number} say about number {number}'
        abstract = f"Some abstract of the piece with the number {number}, in two or three longer lines of text, nothing more."
        entities = f'[{{"Label": "L{number}", "Type": "P", "WikidataId": "Q{number}", "Confidence": 1.0}}]'
        table.append(
            [item, sort, f"{sort}{number % 12}", title, abstract, f"https://assets.msn.com/labs/mind/AA{number}.html", entities, "[]"]
        )
    write(folder / "news.tsv", table, separator="\t")


def retailrocket(folder: Path, rng: np.random.Generator):
    """Events in milliseconds, transactions with an id; properties of items in long form, one row per item, property and week."""
    rows = []
    for number in range(ROWS):
        event = rng.choice(["view", "addtocart", "transaction"], p=[0.85, 0.1, 0.05])
        time = 1_433_000_000_000 + int(rng.integers(0, 120 * 86_400_000))
        rows.append([time, int(rng.integers(50)) * 31, event, int(rng.integers(90)) * 7, number if event == "transaction" else None])
    write(folder / "events.csv", rows, "timestamp,visitorid,event,itemid,transactionid")
    properties = []
    for item in range(0, 90 * 7, 7):
        for week in (1_431_226_800_000, 1_435_460_400_000):
            properties.append([week, item, "categoryid", 1_000 + item % 9])
            properties.append([week, item, "available", int(rng.integers(2))])
            properties.append([week, item, "790", f"n{rng.integers(1, 90_000)}.000"])
    order = rng.permutation(len(properties))
    half = len(order) // 2
    header = "timestamp,itemid,property,value"
    write(folder / "item_properties_part1.csv", [properties[number] for number in order[:half]], header)
    write(folder / "item_properties_part2.csv", [properties[number] for number in order[half:]], header)


def yoochoose(folder: Path, rng: np.random.Generator):
    """Sessions: id, ISO time, item, category; no header."""
    rows = []
    for session in range(1, ROWS // 6):
        start = 1_396_000_000 + int(rng.integers(0, 100 * 86_400))
        for step in range(int(rng.integers(2, 11))):
            item = 214_500_000 + int(rng.integers(100)) * 13
            rows.append(
                [
                    session,
                    utc(start + 60 * step, "%Y-%m-%dT%H:%M:%S.") + f"{int(rng.integers(1000)):03}Z",
                    item,
                    rng.choice(["0", "S", str(item % 12)]),
                ]
            )
    write(folder / "yoochoose-clicks.dat", rows)


def amazon_2018(folder: Path, rng: np.random.Generator):
    """Reviews and products, one object per line."""
    reviews = []
    for number in range(ROWS):
        time = 1_400_000_000 + 86_400 * int(rng.integers(0, 1_500))
        review = {"overall": float(rng.integers(1, 6)), "verified": bool(rng.random() < 0.8), "reviewTime": utc(time, "%m %d, %Y")}
        review |= {"reviewerID": f"A{100 + int(rng.integers(70)):X}QZ", "asin": f"B00{100 + int(rng.integers(80))}"}
        review |= {"reviewerName": f"Reader {number % 70}", "reviewText": f"It does what it says, and number {number} said so too."}
        reviews.append(review | {"summary": "Fine for what it is", "unixReviewTime": time})
    write_json(folder / "All_Beauty.json.gz", reviews)
    products = [
        {
            "category": [],
            "title": f"Product with the number {number}",
            "brand": f"Brand {number % 7}",
            "also_buy": [],
            "main_cat": f"Cat {number % 4}",
        }
        | {"price": "$12.99", "asin": f"B00{100 + number}"}
        for number in range(80)
    ]
    write_json(folder / "meta_All_Beauty.json.gz", products)


def amazon_2023(folder: Path, rng: np.random.Generator):
    """Reviews in milliseconds, with a parent product that several products share, and a table of parents."""
    reviews = []
    for number in range(ROWS):
        product = int(rng.integers(160))
        review = {"rating": float(rng.integers(1, 6)), "title": "Fine", "text": f"Number {number} of many words about it.", "images": []}
        review |= {
            "asin": f"B0{1_000 + product}",
            "parent_asin": f"B0{1_000 + product // 2 * 2}",
            "user_id": f"AE{int(rng.integers(70)):03}QX",
        }
        time = 1_500_000_000_000 + int(rng.integers(0, 10**11))
        reviews.append(review | {"timestamp": time, "helpful_vote": int(rng.integers(4)), "verified_purchase": bool(rng.random() < 0.8)})
    write_json(folder / "All_Beauty.jsonl", reviews)
    parents = [
        {
            "main_category": f"Cat {parent % 4}",
            "title": f"Parent product {parent}",
            "average_rating": 4.1 + parent % 8 / 10,
            "rating_number": parent * 3,
        }
        | {"features": [], "description": [], "price": 9.99 + parent, "images": [], "videos": [], "store": f"Store {parent % 9}"}
        | {"categories": [], "details": {}, "parent_asin": f"B0{1_000 + parent}", "bought_together": None}
        for parent in range(0, 160, 2)
    ]
    write_json(folder / "meta_All_Beauty.jsonl", parents)


def recbole(folder: Path, rng: np.random.Generator):
    """Atomic files: tabs, and a type behind each column's name."""
    ratings = [
        [int(rng.integers(1, 50)), int(rng.integers(1, 80)), int(rng.integers(1, 6)), 880_000_000 + int(rng.integers(0, 10**7))]
        for _ in range(ROWS)
    ]
    write(folder / "ml-100k.inter", ratings, "user_id:token\titem_id:token\trating:float\ttimestamp:float", "\t")
    items = [[item, f"Film {item}", 1950 + item % 50, f"Drama Sort{item % 4}" if item % 2 else "Drama"] for item in range(1, 80)]
    write(folder / "ml-100k.item", items, "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq", "\t")
    users = [[user, 18 + user % 40, "MF"[user % 2], f"job{user % 6}", f"{10_000 + user % 30}"] for user in range(1, 50)]
    write(folder / "ml-100k.user", users, "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token", "\t")


LAYOUTS: dict[str, Callable[[Path, np.random.Generator], None]] = {
    made.__name__: made
    for made in (criteo, avazu, taobao, alimama, kuairand, mind, retailrocket, yoochoose, amazon_2018, amazon_2023, recbole)
}


def make(name: str, folder: Path, seed: int = 0) -> Path:
    """The files of a layout in a folder of its name."""
    folder = folder / name
    folder.mkdir()
    LAYOUTS[name](folder, np.random.default_rng(seed))
    return folder
