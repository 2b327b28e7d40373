package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Real answers.
//
// A folder of fixtures holds <provider>/<what>/<name>.json, see SOURCES.md in
// it. A file is known by its shape, and only below folders that are named as
// in table readers: the same shapes also come as lists of other people's
// posts or people, which do not say whose they are. What is served for what:
//
//	business_discovery with username and ig_id  → Graph profile, as it is
//	insights, by the id that they are of        → Graph insights of a post or story
//	{user:{pk,username}} or that user alone     → arraybobo and jotucker profile, by handle and id;
//	                                              the user alone at bestsolutions
//	a user as lama has it                       → lama profile by id, and bestsolutions
//	user below data or graphql, with followers  → neotank profile; lama's by handle, as it is
//	{data:{user:{edge_owner_to_timeline_media}}} → arraybobo and neotank posts of the owner
//	{items:[{media}]}, also below "response"    → arraybobo and rocketapi reels of whoever has most of them
//	[[post…], cursor]                           → lama posts, likewise
//	shortcode_media below data or graphql       → arraybobo post, the object itself; lama's, and
//	                                              jotucker's comments, as it is
//	{items:[post]} or {media_or_ad:post}        → arraybobo post, put into the web layout; jotucker,
//	                                              lama and rocketapi post
//	each post on a page of posts or reels       → arraybobo post, the same way
//	likers with a shortcode, a hashtag's posts  → jotucker, as it is
//	{reel:{id,user,items}}                      → arraybobo and rocketapi stories
//	stories as lama has them                    → lama
//	channels.list, or an array of its items     → YouTube channel, item by item
//
// "As it is" is but for white space. A page of posts or reels is the only one
// that its profile has: when its cursor is used, an empty last page follows.
// Of several files about one thing the one that says most wins: a channel
// with more of the parts that are read, then the larger, then the first by name.

// An Entity is something that has a real answer.
type Entity struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`         // profile, posts, reels, post, channel, stories, insights, likes, comments, hashtag
	Key    string `json:"key"`          // handle, profile id, shortcode, channel id, media id or hashtag, as asked for
	ID     string `json:"id,omitempty"` // of a profile
	File   string `json:"file"`         // below the folder
	Note   string `json:"note,omitempty"`
}

// Fixtures says what is real. The lists are of Graph, arraybobo and YouTube alone.
type Fixtures struct {
	Dir        string   `json:"dir"`
	Handles    []string `json:"handles"`    // that have a profile
	IDs        []string `json:"ids"`        // that have a profile at arraybobo
	Shortcodes []string `json:"shortcodes"` // that have a post
	Channels   []string `json:"channels"`   // that have all parts that are read
	Posts      []string `json:"posts"`      // profile ids that have a page of posts
	Reels      []string `json:"reels"`      // profile ids that have a page of reels
	Entities   []Entity `json:"entities"`
	Unused     []Unused `json:"unused"` // files of a known folder that could not be served
}

// Unused is a file that is not served.
type Unused struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// Fixtures returns what real answers there are.
func (s *Sandbox) Fixtures() Fixtures { return s.real.listing }

// A shelf is a kind of answer; what it is asked for by is beside it.
type shelf int

const (
	graphProfiles   shelf = iota // handle
	graphInsights                // media id
	graphNavigation              // media id
	appUsers                     // handle
	appUsersByID
	flatUsers // handle
	flatUsersByID
	lamaUsersByID
	webUsers     // handle
	graphqlUsers // handle
	webPosts     // profile id; so are the other pages
	webPostsEnd
	webTimelines
	webTimelinesEnd
	lamaMedias
	lamaMediasEnd
	appReels
	appStories
	lamaReels
	webPost // shortcode; so are the others of posts
	appPost
	graphqlPosts
	rocketPosts
	webLikers
	webComments
	webHashtags // hashtag
	ytChannels
	shelves
)

// fixtures are the bodies by what they are asked for. They are not changed
// after loading.
type fixtures struct {
	of [shelves]map[string][]byte

	handles map[string]bool // of all real accounts, also those without a profile
	ids     map[string]bool
	best    map[string]rank // by source, kind and key
	listing Fixtures
}

// rank says which of two files about one thing wins.
type rank struct {
	says   int // parts, or 1 for an answer of its own and 0 for one out of a page
	size   int
	entity Entity
}

// page is a page of one that has no more, and then an empty one; nil when there
// is none.
func (f *fixtures) page(sh, end shelf, id, cursor string) []byte {
	if cursor != "" {
		sh = end
	}
	return f.of[sh][id]
}

func (f *fixtures) known(handle string) bool { return f.handles[handle] }
func (f *fixtures) knownID(id string) bool   { return f.ids[id] }

const maxFixture = 16 << 20

func loadFixtures(dir string) (*fixtures, error) {
	f := &fixtures{handles: map[string]bool{}, ids: map[string]bool{}, best: map[string]rank{}}
	for i := range f.of {
		f.of[i] = map[string][]byte{}
	}
	f.listing.Dir = dir
	f.listing.Unused = []Unused{}
	if dir != "" {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		root := os.DirFS(dir)
		err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				f.unused(name, err.Error())
				return nil // one bad folder is no reason not to serve the others
			}
			parts := strings.Split(name, "/")
			if d.IsDir() || path.Ext(name) != ".json" || len(parts) < 2 || parts[0] == "errors" {
				return nil
			}
			folder := parts[len(parts)-2]
			read := readers[parts[0]+"/"+folder]
			if read == nil {
				read = readers[folder]
			}
			if read == nil {
				return nil
			}
			body, err := fs.ReadFile(root, name)
			switch {
			case err != nil:
				f.unused(name, err.Error())
				return nil
			case len(body) > maxFixture:
				f.unused(name, "it is too large")
				return nil
			}
			var b bytes.Buffer
			if err := json.Compact(&b, body); err != nil {
				f.unused(name, "it is no JSON: "+err.Error())
				return nil
			}
			if why, ok := read(f, name, b.Bytes()); !ok {
				f.unused(name, why)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	f.list()
	return f, nil
}

func (f *fixtures) unused(file, why string) {
	f.listing.Unused = append(f.listing.Unused, Unused{file, why})
}

// list makes the listing.
func (f *fixtures) list() {
	handles := maps.Clone(f.of[appUsers])
	maps.Copy(handles, f.of[graphProfiles])
	l := &f.listing
	for _, v := range []struct {
		to   *[]string
		from map[string][]byte
	}{
		{&l.Handles, handles}, {&l.IDs, f.of[appUsersByID]}, {&l.Shortcodes, f.of[webPost]},
		{&l.Channels, f.of[ytChannels]}, {&l.Posts, f.of[webPosts]}, {&l.Reels, f.of[appReels]},
	} {
		*v.to = slices.AppendSeq([]string{}, maps.Keys(v.from))
		slices.Sort(*v.to)
	}
	l.Entities = []Entity{}
	for _, r := range f.best {
		l.Entities = append(l.Entities, r.entity)
	}
	slices.SortFunc(l.Entities, func(a, b Entity) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	l.Channels = slices.DeleteFunc(l.Channels, func(id string) bool { return f.best[rankKey(YTAPI, "channel", id)].says < 3 })
}

func rankKey(source, kind, key string) string { return source + " " + kind + " " + key }

// wins records a file about e when it says more than those before it. Files
// come by name, so that the first stays among equals.
func (f *fixtures) wins(e Entity, says, size int) bool {
	k := rankKey(e.Source, e.Kind, e.Key)
	if old, ok := f.best[k]; ok && (old.says > says || old.says == says && old.size >= size) {
		return false
	}
	f.best[k] = rank{says, size, e}
	return true
}

// put serves a body for what e says, when it wins. An id of e is what it can be
// asked for by too, if there is a shelf for that.
func (f *fixtures) put(e Entity, says int, body []byte, on shelf, byID ...shelf) bool {
	if !f.wins(e, says, len(body)) {
		return false
	}
	f.of[on][e.Key] = body
	for _, sh := range byID {
		f.of[sh][e.ID] = body
	}
	return true
}

// account records that an account is real.
func (f *fixtures) account(u wireUser) {
	if h := strings.ToLower(u.Username); h != "" {
		f.handles[h] = true
	}
	for _, id := range []string{u.PK.String(), u.ID.String(), u.IGID.String()} {
		if id != "" {
			f.ids[id] = true
		}
	}
}
