package sandbox_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/providers"
	"beat/providers/instagram/arraybobo"
	"beat/providers/instagram/bestsolutions"
	"beat/providers/instagram/graphapi"
	"beat/providers/instagram/igapi"
	"beat/providers/instagram/jotucker"
	"beat/providers/instagram/lama"
	"beat/providers/instagram/neotank"
	"beat/providers/instagram/rocketapi"
	"beat/providers/sandbox"
	"beat/streams/snapshot"
	"beat/streams/social"
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// A world is a sandbox with all providers on it.
type world struct {
	*sandbox.Sandbox
	client *providers.Client
	set    providers.Set
}

func newWorld(t *testing.T, fixtures string) world {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Fixtures: fixtures, Now: func() time.Time { return now }, CheckKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(box)
	t.Cleanup(func() { box.Close(); srv.Close() })
	at := func(source string) string { return box.BaseURL(srv.URL, source) }
	return world{box, providers.NewClient(providers.ClientConfig{}), providers.NewSet(
		graphapi.New(at(sandbox.GraphAPI)), arraybobo.New(at(sandbox.ArrayBobo)), jotucker.New(at(sandbox.JoTucker)),
		neotank.New(at(sandbox.NeoTank)), bestsolutions.New(at(sandbox.BestSolutions)), igapi.New(at(sandbox.IGAPI)),
		rocketapi.New(at(sandbox.RocketAPI)), lama.New(at(sandbox.Lama)),
	)}
}

// ask puts one ask to a source, the way the pipeline does.
func (w world) ask(t *testing.T, source string, ask social.Ask) (social.Batch, error) {
	t.Helper()
	p := w.set[source]
	call := p.Calls[ask.Fetch]
	row := w.Credential(source)
	if ask.Handle != "" {
		row = w.Bound(ask.Handle)
	}
	cred := providers.Credential{ID: 1, Source: source, Handle: row.Handle, Fields: map[string]providers.Secret{}}
	for k, v := range row.Fields {
		cred.Fields[k] = providers.Secret(v)
	}
	if err := p.Check(cred); err != nil {
		t.Fatal(err)
	}
	req, err := call.Request(cred, ask)
	if err != nil {
		return social.Batch{}, err
	}
	reqs := []providers.Request{req}
	if call.More != nil {
		more, err := call.More(cred, ask)
		if err != nil {
			return social.Batch{}, err
		}
		reqs = append(reqs, more...)
	}
	var answers []providers.Answer
	for _, r := range reqs {
		a, err := w.client.Do(t.Context(), p.BaseURL, r)
		if err != nil && len(reqs) == 1 {
			return social.Batch{}, err
		}
		if err != nil {
			a = providers.Answer{} // it did not come
		}
		answers = append(answers, a)
	}
	a := answers[0]
	if call.Join != nil {
		a = call.Join(ask, answers)
	}
	if err := providers.Classify(p, call, ask, a); err != nil {
		return social.Batch{}, err
	}
	b, err := call.Parse(ask, a.At, a.Body)
	if err == nil {
		masked(t, source, call, ask, a, b)
	}
	return b, err
}

// masked checks that the parser reads of an answer under a mask what it reads of the
// answer, but for whose it is.
func masked(t *testing.T, source string, call providers.Call, ask social.Ask, a providers.Answer, b social.Batch) {
	t.Helper()
	m := snapshot.NewMask()
	body, err := m.JSON(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := call.Parse(m.Ask(ask), a.At, body)
	if err != nil {
		t.Errorf("%s %s: under a mask: %v", source, ask.Fetch, err)
		return
	}
	if got.More != b.More || len(got.Logs) != len(b.Logs) {
		t.Errorf("%s %s: under a mask %d logs, more %v, want %d, %v", source, ask.Fetch, len(got.Logs), got.More, len(b.Logs), b.More)
		return
	}
	for i, l := range b.Logs {
		g := got.Logs[i]
		if g.Kind != l.Kind || g.Type != l.Type || g.Key != m.Text(l.Key) {
			t.Errorf("%s %s: log %d is under a mask %s %s %s, want %s %s %s", source, ask.Fetch, i, g.Kind, g.Type, g.Key, l.Kind, l.Type, m.Text(l.Key))
		}
		want := pairs(l.Metrics)
		for name, v := range want { // some are what an answer has in several members
			if v[0] == '[' || v[0] == '{' {
				text, err := m.JSON([]byte(v))
				if err != nil {
					t.Fatal(err)
				}
				want[name] = string(text)
			}
		}
		if d := cmp.Diff(want, pairs(g.Metrics)); d != "" {
			t.Errorf("%s %s: metrics of log %d under a mask (-want +got):\n%s", source, ask.Fetch, i, d)
		}
		if d := cmp.Diff(names(l.Dimensions), names(g.Dimensions)); d != "" {
			t.Errorf("%s %s: dimensions of log %d under a mask (-want +got):\n%s", source, ask.Fetch, i, d)
		}
		for _, kv := range l.Dimensions {
			v := string(kv.Value)
			switch kv.Key {
			case "handle", "full_name", "biography", "caption", "profile_pic_url", "email", "phone", "contact_phone_number", "external_url":
				if len(v) > 6 && m.Text(v) != v && bytes.Contains(body, []byte(v[1:len(v)-1])) {
					t.Errorf("%s %s: %s %s can be read under the mask", source, ask.Fetch, kv.Key, v)
				}
			}
		}
	}
}

func pairs(kvs social.KVs) map[string]string {
	out := map[string]string{}
	for _, kv := range kvs {
		out[kv.Key] = string(kv.Value)
	}
	return out
}

func names(kvs social.KVs) (out []string) {
	for _, kv := range kvs {
		out = append(out, kv.Key)
	}
	return out
}

// walk asks page after page, at most so many.
func (w world) walk(t *testing.T, source string, ask social.Ask, pages int) (logs []social.Log) {
	t.Helper()
	for page := range pages {
		b, err := w.ask(t, source, ask)
		if err != nil {
			t.Fatalf("%s %s, page %d: %v", source, ask.Fetch, page, err)
		}
		logs = append(logs, b.Logs...)
		if !b.More {
			break
		}
		ask.Cursor = b.Cursor
	}
	return logs
}

// A cell is a Y of the matrix in contract/providers-instagram.md 4.1.
type cell struct {
	source string
	fetch  social.Fetch
	keys   func(w world) []string
	bound  bool // to the account asked for
	check  func(t *testing.T, w world, name string, c cell)
	gone   []string // keys of who is not there; the last of the other keys stay
	hidden bool     // private accounts are as gone as those that are not there
}

func (c cell) ask(w world) social.Ask {
	ask := social.Ask{Fetch: c.fetch, Keys: c.keys(w)}
	if c.bound {
		ask.Handle = who
	}
	return ask
}

const who = "creator00012"

func handle(world) []string { return []string{who} }
func id(w world) []string   { return []string{w.Account(who).ID} }
func code(w world) []string { return []string{w.Posts(who)[3].Code} }
func tag(world) []string    { return []string{"Coffee"} }

var (
	noHandle = []string{"missing.person"}
	noID     = []string{"12"}
	noCode   = []string{"Cmissing012"}
	noTag    = []string{"missingtag"}
)

var cells = []cell{
	{sandbox.GraphAPI, social.ProfileByHandle, handle, false, profile, noHandle, true},
	{sandbox.GraphAPI, social.PostsByHandle, handle, false, timeline, noHandle, true},
	{sandbox.GraphAPI, social.Stories, handle, true, graphStories, noHandle, true},
	{sandbox.GraphAPI, social.PostInsights, media, true, postInsights, []string{"x", "17841400000000001", "image"}, false},
	{sandbox.GraphAPI, social.StoryInsights, story, true, storyInsights, []string{"17841400000000001"}, false},
	{sandbox.GraphAPI, social.ProfileInsights, handle, true, audience, nil, false},

	{sandbox.ArrayBobo, social.ProfileByID, id, false, profile, noID, false},
	{sandbox.ArrayBobo, social.ProfileByHandle, handle, false, profile, noHandle, false},
	{sandbox.ArrayBobo, social.PostsByID, id, false, timeline, noID, false},
	{sandbox.ArrayBobo, social.PostByShortcode, code, false, onePost, noCode, false},
	{sandbox.ArrayBobo, social.Reels, id, false, clips, nil, false},
	{sandbox.ArrayBobo, social.TaggedPosts, id, false, tagged, noID, false},
	{sandbox.ArrayBobo, social.StoriesByID, id, false, storyList, nil, false},

	{sandbox.JoTucker, social.ProfileByID, id, false, profile, noID, false},
	{sandbox.JoTucker, social.ProfileByHandle, handle, false, profile, noHandle, false},
	{sandbox.JoTucker, social.PostsByID, id, false, timeline, nil, false},
	{sandbox.JoTucker, social.PostByShortcode, code, false, onePost, noCode, false},
	{sandbox.JoTucker, social.Followers, id, false, followerList, noID, true},
	{sandbox.JoTucker, social.Following, id, false, followingList, noID, true},
	{sandbox.JoTucker, social.PostLikes, code, false, likes, noCode, false},
	{sandbox.JoTucker, social.PostComments, code, false, comments, noCode, false},
	{sandbox.JoTucker, social.HashtagPosts, tag, false, hashtag, noTag, false},

	{sandbox.NeoTank, social.ProfileByID, id, false, profile, noID, false},
	{sandbox.NeoTank, social.ProfileByHandle, handle, false, profile, noHandle, false},
	{sandbox.NeoTank, social.PostsByID, id, false, timeline, noID, false},

	{sandbox.BestSolutions, social.ProfileByID, id, false, profile, noID, false},
	{sandbox.BestSolutions, social.ProfileByHandle, handle, false, profile, noHandle, false},
	{sandbox.BestSolutions, social.PostsByID, id, false, timeline, nil, false},

	{sandbox.IGAPI, social.Followers, id, false, followerList, noID, true},

	{sandbox.RocketAPI, social.PostByShortcode, code, false, onePost, noCode, false},
	{sandbox.RocketAPI, social.Reels, id, false, clips, noID, true},
	{sandbox.RocketAPI, social.StoriesByID, id, false, storyList, nil, false},
	{sandbox.RocketAPI, social.Followers, id, false, followerList, noID, true},

	{sandbox.Lama, social.ProfileByID, id, false, profile, noID, false},
	{sandbox.Lama, social.ProfileByHandle, handle, false, profile, noHandle, false},
	{sandbox.Lama, social.PostsByID, id, false, timeline, noID, true},
	{sandbox.Lama, social.PostByShortcode, code, false, onePost, noCode, false},
	{sandbox.Lama, social.Followers, id, false, followerList, noID, true},
	{sandbox.Lama, social.Following, id, false, followingList, noID, true},
	{sandbox.Lama, social.StoriesByID, id, false, storyList, noID, true},
	{sandbox.Lama, social.HashtagPosts, tag, false, hashtag, noTag, false},
}

func (c cell) name() string { return c.source + " " + string(c.fetch) }

// Every Y of the matrix, through its provider: what comes out is what the world
// knows, and so the same from every source.
func TestMatrix(t *testing.T) {
	w := newWorld(t, "")
	var have, want []string
	for source, p := range w.set {
		for fetch := range p.Calls {
			want = append(want, source+" "+string(fetch))
		}
	}
	slices.Sort(want)
	for _, c := range cells {
		have = append(have, c.name())
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("cells\n%s\nthe providers answer\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if got := sandbox.Endpoints(); !slices.Equal(got, want) {
		t.Errorf("the sandbox answers\n%s\nthe providers ask\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, c := range cells {
		t.Run(c.name(), func(t *testing.T) { c.check(t, w, c.name(), c) })
	}
	for source, v := range w.Stats().Sources {
		if source != sandbox.YTAPI && source != sandbox.YTPage && v.Calls == 0 {
			t.Errorf("%s was not called", source)
		}
	}
	for _, v := range w.Stats().Calls {
		if v.Fetch == "" || v.Status != http.StatusOK && v.Source != sandbox.GraphAPI {
			t.Errorf("calls that went wrong: %+v", v)
		}
	}
}

// Who is not there, or private, is gone; what goes wrong on purpose is what it is.
func TestMatrixFails(t *testing.T) {
	w := newWorld(t, "")
	verdicts := map[string]error{
		"401": providers.ErrRefused, "429": providers.ErrLimited, "500": providers.ErrUpstream, "503": providers.ErrUpstream,
		"expired": providers.ErrRefused, "malformed": providers.ErrMalformed, "empty": providers.ErrMalformed, "html": providers.ErrMalformed,
		"wrongtype": providers.ErrMalformed, "truncated": providers.ErrUpstream, "reset": providers.ErrUpstream,
	}
	secret := w.Account("private.person")
	for _, c := range cells {
		if c.gone != nil {
			if _, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: c.gone}); !errors.Is(err, providers.ErrGone) {
				t.Errorf("%s of %v: %v, want gone", c.name(), c.gone, err)
			}
		}
		if c.hidden {
			key := secret.ID
			if c.gone[0] == noHandle[0] {
				key = secret.Handle
			}
			if _, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: []string{key}}); !errors.Is(err, providers.ErrGone) {
				t.Errorf("%s of a private account: %v, want gone", c.name(), err)
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(verdicts)) {
			id := w.Inject(sandbox.Fault{Source: c.source, Kind: kind})
			_, err := w.ask(t, c.source, c.ask(w))
			w.Clear(id)
			if !errors.Is(err, verdicts[kind]) {
				t.Errorf("%s, fault %s: %v, want %v", c.name(), kind, err, verdicts[kind])
			}
		}
	}
}

// Of private accounts, and of those without posts, the rest is there.
func TestMatrixOfFew(t *testing.T) {
	w := newWorld(t, "")
	for _, c := range cells {
		for _, name := range []string{"private.person", "empty.person", "noreels.person", "nostories.person", "personal.person", "busy.person", "hiddenlikes.person"} {
			a := w.Account(name)
			key := map[bool]string{true: a.Handle, false: a.ID}[c.fetch == social.ProfileByHandle || c.fetch == social.PostsByHandle || c.fetch == social.Stories]
			if slices.Contains([]social.Fetch{social.PostByShortcode, social.PostLikes, social.PostComments, social.HashtagPosts, social.PostInsights, social.StoryInsights, social.ProfileInsights}, c.fetch) {
				continue
			}
			b, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: []string{key}})
			what := c.name() + " of " + name
			switch {
			case errors.Is(err, providers.ErrGone): // what the source says of them
				continue
			case err != nil:
				t.Errorf("%s: %v", what, err)
				continue
			}
			var of []sandbox.Post
			switch c.fetch {
			case social.ProfileByHandle, social.ProfileByID:
				isProfile(t, what, b.Logs[0], a)
				continue
			case social.PostsByID, social.PostsByHandle:
				of = w.Posts(name)
			case social.Reels:
				of = w.Reels(name)
			case social.StoriesByID:
				if len(b.Logs) != len(w.Stories(name)) {
					t.Errorf("%s: %d stories, want %d", what, len(b.Logs), len(w.Stories(name)))
				}
				continue
			case social.TaggedPosts:
				of = w.Tagged(name)
			default:
				continue
			}
			for i := range of {
				if strings.HasPrefix(name, "hiddenlikes") && c.fetch != social.TaggedPosts {
					of[i].Likes = -1
				}
			}
			if c.source == sandbox.GraphAPI && strings.HasPrefix(name, "hiddenlikes") {
				continue // has none
			}
			isPosts(t, what, b.Logs, of[:min(len(of), 12)])
		}
	}
}

// Real answers are read by the providers of the sources that pass them on, and
// are about what they were asked for.
func TestMatrixOfRealAnswers(t *testing.T) {
	dir := os.Getenv("BEAT_FIXTURES")
	if dir == "" {
		dir = "../../../shared/fixtures"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no real answers to test with: %v; set BEAT_FIXTURES", err)
		return
	}
	w := newWorld(t, dir)
	fetches := map[string]social.Fetch{
		"profile": social.ProfileByHandle, "profile by id": social.ProfileByID, "posts": social.PostsByID, "reels": social.Reels,
		"post": social.PostByShortcode, "stories": social.StoriesByID, "likes": social.PostLikes, "comments": social.PostComments,
		"hashtag": social.HashtagPosts,
	}
	seen := map[string]bool{}
	for _, e := range w.Fixtures().Entities {
		fetch := fetches[e.Kind]
		if e.Source == sandbox.YTAPI || fetch == "" { // insights are of ids that Graph asks by two calls
			continue
		}
		seen[e.Source+" "+e.Kind] = true
		b, err := w.ask(t, e.Source, social.Ask{Fetch: fetch, Keys: []string{e.Key}})
		if err != nil || len(b.Logs) == 0 {
			t.Errorf("%+v: %d logs, %v", e, len(b.Logs), err)
			continue
		}
		for _, l := range b.Logs {
			ok := l.Source == e.Source
			switch e.Kind {
			case "profile":
				ok = ok && strings.EqualFold(l.Handle, e.Key) || l.Kind == social.Post
			case "profile by id":
				ok = ok && l.Key == e.Key
			case "posts":
				ok = ok && l.Kind == social.Post && (l.Owner == "" || l.Owner == e.Key)
			case "reels", "stories", "hashtag": // reels may be a guest's
				ok = ok && l.Kind == social.Post
			case "post", "likes", "comments":
				ok = ok && l.Key == e.Key
			}
			if !ok {
				t.Errorf("%+v: %s %s of %q", e, l.Kind, l.Key, l.Owner)
			}
		}
	}
	if len(seen) < 17 {
		t.Errorf("only these were there: %v", slices.Sorted(maps.Keys(seen)))
	}
}
