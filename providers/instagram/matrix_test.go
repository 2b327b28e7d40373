package instagram_test

import (
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/instagram/arraybobo"
	"beat/providers/instagram/bestsolutions"
	"beat/providers/instagram/graphapi"
	"beat/providers/instagram/igapi"
	"beat/providers/instagram/jotucker"
	"beat/providers/instagram/lama"
	"beat/providers/instagram/neotank"
	"beat/providers/instagram/rocketapi"
	"beat/streams/social"
)

// columns are the providers in the order of the tables below.
var columns = []struct {
	source   string
	provider *providers.Provider
}{
	{"graphapi", graphapi.New("")},
	{"rapidapi-arraybobo", arraybobo.New("")},
	{"rapidapi-jotucker", jotucker.New("")},
	{"rapidapi-neotank", neotank.New("")},
	{"rapidapi-bestsolutions", bestsolutions.New("")},
	{"rapidapi-igapi", igapi.New("")},
	{"rocketapi", rocketapi.New("")},
	{"lama", lama.New("")},
}

// The matrices 4.1 and 4.2 of contract/providers-instagram.md: Y is a call. N
// and - are the same here, for a provider has a call or it has not (Q-X-10).
// Without parse_profiles_post_data, which has no fetch.
const (
	fetches = `
                                  graph arraybobo jotucker neotank best igapi rocket lama
fetch_profile_by_id                 N       Y         Y       Y     Y     -     -     Y
fetch_profile_by_handle             Y       Y         Y       Y     Y     -     -     Y
fetch_profile_posts_by_id           N       Y         Y       Y     Y     -     -     Y
fetch_profile_posts_by_handle       Y       N         N       N     -     -     -     -
fetch_post_by_shortcode             N       Y         Y       N     -     -     Y     Y
fetch_reels_posts                   N       Y         N       N     -     -     Y     -
fetch_followers                     -       -         Y       -     -     Y     Y     Y
fetch_following                     -       -         Y       -     -     -     -     Y
fetch_post_likes                    -       -         Y       -     -     -     -     -
fetch_post_comments                 -       -         Y       -     -     -     -     -
fetch_post_insights                 Y       -         -       -     -     -     -     -
fetch_profile_insights              Y       -         -       -     -     -     -     -
fetch_stories_posts                 Y       -         -       -     -     -     -     -
fetch_story_insights                Y       -         -       -     -     -     -     -
fetch_hashtag_posts                 -       -         Y       -     -     -     -     Y
fetch_tagged_posts_by_profile_id    -       Y         -       -     -     -     -     -
fetch_story_posts_by_profile_id     -       Y         -       -     -     -     Y     Y`

	parses = `
                                  graph arraybobo jotucker neotank best igapi rocket lama
parse_profile_data                  Y       Y         Y       Y     Y     -     -     Y
parse_profile_post_data             Y       Y         Y       Y     Y     -     -     Y
parse_post_by_shortcode             -       Y         Y       -     -     -     Y     Y
parse_reels_post_data               -       Y         -       -     -     -     Y     -
parse_tagged_posts_data             -       Y         -       -     -     -     -     -
parse_story_posts_data              -       Y         -       -     -     -     Y     Y
parse_hashtag_posts                 -       -         Y       -     -     -     -     Y
parse_post_insights_data            Y       -         -       -     -     -     -     -
parse_profile_insights_data         Y       -         -       -     -     -     -     -
parse_story_insights_data           Y       -         -       -     -     -     -     -
parse_followers                     -       -         Y       -     -     Y     Y     Y
parse_following                     -       -         Y       -     -     -     -     Y
parse_post_likes                    -       -         Y       -     -     -     -     -
parse_post_comments                 -       -         Y       -     -     -     -     -`
)

// parsedBy pairs the methods as 3.1 does.
var parsedBy = map[social.Fetch][]string{
	social.ProfileByID:     {"parse_profile_data"},
	social.ProfileByHandle: {"parse_profile_data"},
	social.PostsByID:       {"parse_profile_post_data"},
	social.PostsByHandle:   {"parse_profile_post_data"},
	social.PostByShortcode: {"parse_post_by_shortcode"},
	social.Reels:           {"parse_reels_post_data"},
	social.Followers:       {"parse_followers"},
	social.Following:       {"parse_following"},
	social.PostLikes:       {"parse_post_likes"},
	social.PostComments:    {"parse_post_comments"},
	social.PostInsights:    {"parse_post_insights_data"},
	social.ProfileInsights: {"parse_profile_insights_data"},
	social.Stories:         {"parse_profile_data", "parse_profile_post_data"},
	social.StoryInsights:   {"parse_story_insights_data"},
	social.HashtagPosts:    {"parse_hashtag_posts"},
	social.TaggedPosts:     {"parse_tagged_posts_data"},
	social.StoriesByID:     {"parse_story_posts_data"},
}

// matrix is whether the cells of a table are Y, by method and in the order of
// columns.
func matrix(t *testing.T, text string) map[string][]bool {
	out := map[string][]bool{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) != 1+len(columns) || out[f[0]] != nil {
			t.Fatalf("%q: %d cells, or a method twice", line, len(f)-1)
		}
		for _, cell := range f[1:] {
			if !slices.Contains([]string{"Y", "N", "-"}, cell) {
				t.Fatalf("%q: a cell is %q", line, cell)
			}
			out[f[0]] = append(out[f[0]], cell == "Y")
		}
	}
	return out
}

// Every provider has exactly the calls of the matrix.
func TestMatrix(t *testing.T) {
	asked, read := matrix(t, fetches), matrix(t, parses)
	if len(asked) != 17 || len(read) != 14 || len(parsedBy) != len(asked) {
		t.Fatalf("%d fetch and %d parse methods, %d pairs, want 17, 14 and 17", len(asked), len(read), len(parsedBy))
	}
	for i, c := range columns {
		p, used := c.provider, map[string]bool{}
		if p.Source != c.source || p.Platform != social.Instagram {
			t.Errorf("%s is %q of %s", c.source, p.Source, p.Platform)
		}
		for method, cells := range asked {
			call, ok := p.Calls[social.Fetch(method)]
			if ok != cells[i] {
				t.Errorf("%s: %s is there: %v, want %v", c.source, method, ok, cells[i])
			}
			if ok && (call.Request == nil || call.Judge == nil || call.Parse == nil) {
				t.Errorf("%s: %s cannot be asked, judged and read", c.source, method)
			}
			for _, parse := range parsedBy[social.Fetch(method)] {
				used[parse] = used[parse] || cells[i]
			}
		}
		for fetch := range p.Calls {
			if asked[string(fetch)] == nil {
				t.Errorf("%s: %s is not in the matrix", c.source, fetch)
			}
		}
		for parse, cells := range read {
			if cells[i] != used[parse] {
				t.Errorf("%s: %s is %v in 4.2, and %v by what 4.1 fetches", c.source, parse, cells[i], used[parse])
			}
		}
	}
}
