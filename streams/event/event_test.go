package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/streams/social"
)

// commit is what one answer with n posts makes true.
func commit(n int) Commit {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := Commit{
		Task:   social.TaskRef{ID: 7, Fence: 9, Flow: "refresh_profile_by_handle", Platform: social.Instagram, LeaseUntil: at.Add(15 * time.Minute)},
		Seq:    2,
		Parts:  1,
		Final:  &social.Final{Status: social.Complete, Data: "None"},
		Raw:    social.Raw{ID: social.ID("raw", n), Source: "rapidapi-arraybobo", At: at, Status: 200},
		Parser: 1,
	}
	for i := range n {
		c.Events = append(c.Events, Event{ID: ID("raw", i), Log: social.Log{
			Kind: social.Post, Key: fmt.Sprintf("Cx%09d", i), Owner: "17841400000000007", Source: "arraybobo",
			Dimensions: social.KVs{
				{Key: "profile_id", Value: social.String("17841400000000007")},
				{Key: "display_url", Value: social.String("https://scontent.example.net/" + strings.Repeat("4f2a", 50) + "_n.jpg")},
				{Key: "thumbnail_src", Value: social.String("https://scontent.example.net/" + strings.Repeat("9b1c", 50) + "_n.jpg")},
				{Key: "taken_at_timestamp", Value: social.Int(1772366400 - int64(i)*3600)},
				{Key: "caption", Value: social.String("Morning run by the river.\nThe \"long\" one! " + strings.Repeat("A little further. ", i%5))},
				{Key: "keywords", Value: social.String(`["Morning", "river"]`)},
			},
			Metrics: social.KVs{{Key: "comments", Value: social.Int(int64(i))}, {Key: "likes", Value: social.Int(int64(i) * 37)}, {Key: "view_count", Value: social.Null}},
		}})
	}
	return c
}

func TestCommitRoundTrip(t *testing.T) {
	for _, c := range []Commit{commit(0), commit(12), {Task: social.TaskRef{ID: 1}, Part: 1, Parts: 2}} {
		data, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		got, err := UnmarshalCommit(data)
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("came back changed (-want +got):\n%s", diff)
		}
	}
}

func TestUnmarshalCommitRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":         ``,
		"no JSON":         `{"task":{"id":1},"parts":1,"events":[}`,
		"cut off":         `{"task":{"id":1},"parts":1,"events":[{"id":"a"`,
		"more behind":     `{"task":{"id":1},"parts":1,"events":[]}x`,
		"a list":          `[1]`,
		"no task":         `{"parts":1,"events":[]}`,
		"no parts":        `{"task":{"id":1},"events":[]}`,
		"part of too few": `{"task":{"id":1},"part":1,"parts":1,"events":[]}`,
		"part below 0":    `{"task":{"id":1},"part":-1,"parts":1,"events":[]}`,
		"task of text":    `{"task":"x","parts":1,"events":[]}`,
		"task id of text": `{"task":{"id":"x"},"parts":1,"events":[]}`,
	} {
		if c, err := UnmarshalCommit([]byte(data)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, c)
		}
	}
}

// A later version may add members; an older process passes them over.
func TestUnmarshalCommitPassesOverNewMembers(t *testing.T) {
	const data = ` { "new" : [ {"a":[1,{}]} , -1.5e3 ] , "task" : {"id":1,"new":2} , "parts" : 1 , "final" : null ,
		"events" : [ {"new":{},"id":"e","log":{"kind":"post","new":"\"","key":"k","metrics":{"likes": 1 }}} ] } `
	c, err := UnmarshalCommit([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	want := Commit{Task: social.TaskRef{ID: 1}, Parts: 1, Events: []Event{{ID: "e", Log: social.Log{
		Kind: social.Post, Key: "k", Metrics: social.KVs{{Key: "likes", Value: social.Int(1)}}}}}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkCommitMarshal(b *testing.B) {
	c := commit(12)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalCommit(b *testing.B) {
	data, err := commit(12).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalCommit(data); err != nil {
			b.Fatal(err)
		}
	}
}
