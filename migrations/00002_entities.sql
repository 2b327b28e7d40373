-- +goose Up

-- Accounts and posts: contract/postgres.md 3–10. lineage is ours: where the
-- value of each column comes from,
--   {"a": [[source, observed_at, raw_id, parser], …], "c": {"column": index into a, …}}
-- It decides which observation wins, and `beat state` shows it.
CREATE SEQUENCE IF NOT EXISTS social_profile_id_seq;
CREATE SEQUENCE IF NOT EXISTS social_post_id_seq;

CREATE TABLE IF NOT EXISTS instagram_account (
    id bigint NOT NULL DEFAULT nextval('social_profile_id_seq'),
    profile_id varchar,
    handle text,
    full_name text,
    profile_type text,
    biography text,
    followers bigint,
    following bigint,
    profile_pic_url text,
    category text,
    category_id text,
    fbid text,
    media_count bigint,
    is_business_or_creator boolean,
    is_private boolean,
    is_verified boolean,
    is_creator boolean,
    is_in_gcc_collection boolean,
    on_gcc boolean,
    refreshed_at timestamp,
    avg_likes double precision,
    avg_comments double precision,
    avg_engagement double precision,
    avg_impressions double precision,
    avg_reach double precision,
    avg_reels_plays double precision,
    created_at timestamp,
    updated_at timestamp,
    CONSTRAINT instagram_account_profile_id_key UNIQUE (profile_id)
) WITH (fillfactor = 80);
ALTER TABLE instagram_account ADD COLUMN IF NOT EXISTS lineage jsonb;
CREATE UNIQUE INDEX IF NOT EXISTS instagram_account_id_idx ON instagram_account (id);
CREATE INDEX IF NOT EXISTS instagram_account_handle_idx ON instagram_account (handle);
CREATE INDEX IF NOT EXISTS instagram_account_refresh_idx ON instagram_account (is_business_or_creator, refreshed_at);

CREATE TABLE IF NOT EXISTS instagram_account_ts (
    id bigint NOT NULL DEFAULT nextval('social_profile_id_seq'),
    profile_id varchar,
    handle text, full_name text, profile_type text, biography text, profile_pic_url text,
    category text, category_id text, fbid text,
    followers bigint, following bigint, media_count bigint,
    is_business_or_creator boolean, is_private boolean, is_verified boolean,
    created_at timestamp
);

CREATE TABLE IF NOT EXISTS instagram_post (
    id bigint NOT NULL DEFAULT nextval('social_post_id_seq'),
    profile_id varchar,
    handle text,
    post_id text,
    post_type text,
    content_type text,
    caption text,
    likes bigint,
    views bigint,
    plays bigint,
    comments bigint,
    reach bigint,
    saved bigint,
    shares bigint,
    impressions bigint,
    interactions bigint,
    engagement double precision,
    shortcode varchar,
    display_url text,
    thumbnail_url text,
    publish_time timestamp,
    created_at timestamp,
    updated_at timestamp,
    taps_forward bigint,
    taps_back bigint,
    exits bigint,
    replies bigint,
    navigation bigint,
    profile_activity bigint,
    profile_visits bigint,
    follows bigint,
    video_views bigint,
    automatic_forward bigint,
    swipe_back bigint,
    swipe_down bigint,
    swipe_forward bigint,
    swipe_up bigint,
    keywords text,
    story_links varchar[],
    story_hashtags varchar[],
    profile_follower bigint,
    profile_er double precision,
    profile_static_er double precision,
    profile_reels_er double precision,
    CONSTRAINT instagram_post_shortcode_key UNIQUE (shortcode)
) WITH (fillfactor = 80);
ALTER TABLE instagram_post
    ADD COLUMN IF NOT EXISTS story_links varchar[],
    ADD COLUMN IF NOT EXISTS story_hashtags varchar[],
    ADD COLUMN IF NOT EXISTS profile_follower bigint,
    ADD COLUMN IF NOT EXISTS profile_er double precision,
    ADD COLUMN IF NOT EXISTS profile_static_er double precision,
    ADD COLUMN IF NOT EXISTS profile_reels_er double precision,
    ADD COLUMN IF NOT EXISTS lineage jsonb;
CREATE UNIQUE INDEX IF NOT EXISTS instagram_post_id_idx ON instagram_post (id);
CREATE INDEX IF NOT EXISTS instagram_post_profile_idx ON instagram_post (profile_id, publish_time DESC);

CREATE TABLE IF NOT EXISTS instagram_post_ts (
    id bigint NOT NULL DEFAULT nextval('social_post_id_seq'),
    profile_id varchar, shortcode varchar,
    handle text, post_id text, post_type text, caption text, display_url text, thumbnail_url text, content_type text,
    likes bigint, views bigint, plays bigint, comments bigint, reach bigint, saved bigint, shares bigint,
    impressions bigint, interactions bigint,
    engagement double precision,
    taps_forward bigint, taps_back bigint, exits bigint, replies bigint, navigation bigint,
    profile_activity bigint, profile_visits bigint, follows bigint, video_views bigint,
    created_at timestamp, publish_time timestamp
);

CREATE TABLE IF NOT EXISTS youtube_account (
    id bigserial NOT NULL PRIMARY KEY,
    channel_id text,
    title text,
    description text,
    custom_url text,
    published_at timestamp,
    thumbnails text,
    thumbnail text,
    is_subscriber_count_hidden boolean,
    subscribers bigint,
    uploads bigint,
    views bigint,
    country text,
    uploads_playlist_id varchar,
    external_urls text,
    is_verified boolean,
    shorts bigint,
    username text,
    gplsuid text,
    yt_category_id text,
    yt_category text,
    locale text,
    er12p double precision,
    created_at timestamp,
    updated_at timestamp
) WITH (fillfactor = 80);
ALTER TABLE youtube_account
    ADD COLUMN IF NOT EXISTS external_urls text,
    ADD COLUMN IF NOT EXISTS is_verified boolean,
    ADD COLUMN IF NOT EXISTS lineage jsonb;
-- The existing system had no unique key here and made duplicates: keep the
-- row that was written last.
DELETE FROM youtube_account a USING youtube_account b
    WHERE a.channel_id = b.channel_id
      AND (coalesce(a.updated_at, '-infinity'), a.id) < (coalesce(b.updated_at, '-infinity'), b.id);
CREATE UNIQUE INDEX IF NOT EXISTS youtube_account_channel_id_key ON youtube_account (channel_id);

CREATE TABLE IF NOT EXISTS youtube_account_ts (
    id bigserial NOT NULL PRIMARY KEY,
    description text, channel_id text, title text, custom_url text, country text, uploads_playlist_id text,
    thumbnails text, thumbnail text,
    subscribers bigint, uploads bigint, views bigint,
    is_subscriber_count_hidden boolean,
    created_at timestamp, published_at timestamp
);

CREATE TABLE IF NOT EXISTS asset_log (
    id bigserial NOT NULL PRIMARY KEY,
    entity_id varchar,
    entity_type text,
    platform text,
    asset_type text,
    asset_url text,
    original_url text,
    updated_at timestamp,
    created_at timestamp,
    CONSTRAINT asset_log_entity_id_key UNIQUE (entity_id)
);

-- +goose Down
SELECT 1;
