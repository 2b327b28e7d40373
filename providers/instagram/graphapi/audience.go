package graphapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// What 8.8 asks for, one call for each pair, metric by metric.
var (
	demographics = []string{followers, "reached_audience_demographics", "engaged_audience_demographics"}
	breakdowns   = []string{"country", "city", genderAge}
)

const (
	followers = "follower_demographics"
	genderAge = "gender, age" // sic
	subset    = "subset"      // as second key: what the HTTP API shows
)

func audienceRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	all, err := audienceCalls(c, ask)
	if err != nil {
		return providers.Request{}, err
	}
	return all[0], nil
}

func audienceMore(c providers.Credential, ask social.Ask) ([]providers.Request, error) {
	all, err := audienceCalls(c, ask)
	if err != nil {
		return nil, err
	}
	return all[1:], nil
}

// audienceCalls asks the account of c about itself; the handle only says whose
// the answer is.
func audienceCalls(c providers.Credential, ask social.Ask) ([]providers.Request, error) {
	node, _, err := account(c, ask)
	if err != nil {
		return nil, err
	}
	metrics, by := demographics, breakdowns
	switch more := ask.Keys[1:]; {
	case slices.Equal(more, []string{subset}):
		metrics, by = []string{followers}, []string{"city", genderAge}
	case len(more) > 0:
		return nil, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest, Message: "Something went wrong",
			Detail: fmt.Sprintf("keys.1: %.60q is not %q", more[0], subset)}
	}
	var out []providers.Request
	for _, metric := range metrics {
		for _, breakdown := range by {
			out = append(out, get(c, audienceVersion+node+"/insights", url.Values{
				"period":      {"lifetime"},
				"metric_type": {"total_value"},
				"timeframe":   {"last_90_days"},
				"metric":      {metric},
				"breakdown":   {breakdown},
			}))
		}
	}
	return out, nil
}

// joinAudience: one answer of status 200 is a success, else the last says what
// went wrong (8.8).
func joinAudience(_ social.Ask, answers []providers.Answer) providers.Answer {
	i := slices.IndexFunc(answers, func(a providers.Answer) bool { return a.Status == http.StatusOK })
	if i < 0 {
		return answers[len(answers)-1]
	}
	all, out := providers.Parts(answers), answers[i]
	out.Body, out.Took = all.Body, all.Took
	return out
}

// audienceClasses is the outcome table of 8.8; the rest of the rows are those of
// all calls, but no message of the API is passed on.
var audienceClasses = slices.Concat([]providers.Class{
	noAccount,
	noObject(http.StatusBadRequest, "User ID doesn't exist"),
	invalidToken,
}, untold(classes))

// judgeAudience: an answer without any breakdown, such as of an account that is
// too small to have them, says nothing.
func judgeAudience(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	found, err := readAudience(root)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return instagram.Missing(insightsMissing, "no breakdown was delivered")
	}
	return nil
}

// parseAudience reads the answers of 8.8, as Parts, merged by metric, or one
// alone (8.9). The profile is known to the flow.
func parseAudience(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	found, err := readAudience(root)
	if err != nil {
		return social.Batch{}, err
	}
	return social.Batch{Logs: []social.Log{{Kind: social.Insights, Key: ask.Key(), Handle: ask.Key(), Source: source, Dimensions: found}}}, nil
}

// audiences is the second table of 8.9, and what the keys of each metric begin
// with. The existing system has the last two the wrong way round (Q-GA-8,
// shared/decisions.md 19).
var audiences = []struct{ metric, prefix string }{
	{followers, "audience_"},
	{"engaged_audience_demographics", "engaged_audience_"},
	{"reached_audience_demographics", "reached_audience_"},
}

var genders = map[string]string{"M": "male", "F": "female", "U": "uncategorized"}

// readAudience is the dimensions of 8.9: those whose breakdown was delivered and
// is not empty (Q-GA-9).
func readAudience(root doc.Node) (social.KVs, *providers.Error) {
	var t tallies
	found := false
	for _, p := range partsOf(root) {
		data := p.body.At("data")
		found = found || data.IsList()
		for i, n := range data.List() {
			if err := t.add(n, fmt.Sprintf("%sdata.%d", p.path, i)); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range audiences { // merged
		list := root.At(a.metric)
		found = found || list.IsList()
		for i, n := range list.List() {
			if err := t.addBreakdown(a.prefix, n, fmt.Sprintf("%s.%d", a.metric, i)); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case found:
		return t.dimensions(), nil
	case root.At("parts").IsList():
		return nil, providers.Malformed("parts have no data")
	}
	_, err := root.NeedList("data")
	return nil, err
}

// tallies are the maps of 8.9, by key; those of genders by key and gender.
type tallies struct {
	counts map[string]*tally
	ages   map[string][]gender
}

type gender struct {
	name string
	ages *tally
}

// A tally is an object whose members keep the order in which they first came.
type tally struct {
	members social.KVs
	at      map[string]int
}

func (t *tally) set(key string, v json.RawMessage) {
	if i, ok := t.at[key]; ok {
		t.members[i].Value = v
		return
	}
	if t.at == nil {
		t.at = map[string]int{}
	}
	t.at[key] = len(t.members)
	t.members = append(t.members, social.KV{Key: key, Value: v})
}

// add reads an element of data.
func (t *tallies) add(n doc.Node, at string) *providers.Error {
	name := n.At("name").Text()
	for _, a := range audiences {
		if a.metric != name {
			continue
		}
		for i, b := range n.At("total_value.breakdowns").List() {
			if err := t.addBreakdown(a.prefix, b, fmt.Sprintf("%s.total_value.breakdowns.%d", at, i)); err != nil {
				return err
			}
		}
	}
	return t.addOld(name, n.At("values.0.value"), at)
}

// addBreakdown reads a breakdown object. One without results was not delivered;
// one of other dimensions is passed over (Q-GA-15).
func (t *tallies) addBreakdown(prefix string, n doc.Node, at string) *providers.Error {
	if _, err := n.NeedList("dimension_keys"); err != nil {
		return doc.In(at, err)
	}
	results := n.At("results").List()
	if len(results) == 0 {
		return nil
	}
	first, second := n.At("dimension_keys.0").Text(), n.At("dimension_keys.1").Text()
	flat := first == "country" || first == "city"
	switch {
	case flat:
		t.reset(prefix + first)
	case first != "gender" && second != "age":
		return nil
	}
	for i, r := range results {
		v, err := doc.Count(r.At("value"))
		if err != nil {
			return providers.Malformed("%s.results.%d.value: %v", at, i, err)
		}
		key, age := r.At("dimension_values.0").Text(), r.At("dimension_values.1").Text()
		if flat {
			t.count(prefix+first, key, v)
		} else {
			t.countAge(prefix+"gender_age", key, age, v)
		}
	}
	return nil
}

// addOld reads a metric of before v18, which is not in the contract: named as
// our keys are, with one object of counts, genders and ages as F.18-24.
func (t *tallies) addOld(name string, counts doc.Node, at string) *providers.Error {
	if name != "audience_country" && name != "audience_city" && name != "audience_gender_age" {
		return nil
	}
	var failed *providers.Error
	counts.Each(func(key string, n doc.Node) {
		v, err := doc.Count(n)
		switch letter, age, ok := strings.Cut(key, "."); {
		case err != nil:
			failed = providers.Malformed("%s.values.0.value: %v", at, err)
		case name != "audience_gender_age":
			t.count(name, key, v)
		case ok:
			t.countAge(name, letter, age, v)
		}
	})
	return failed
}

// reset forgets an earlier breakdown of the same kind.
func (t *tallies) reset(key string) { delete(t.counts, key) }

// count notes how many are of a place. What has no name or no count is passed
// over.
func (t *tallies) count(key, place string, v json.RawMessage) {
	if place == "" || string(v) == "null" {
		return
	}
	if t.counts == nil {
		t.counts = map[string]*tally{}
	}
	if t.counts[key] == nil {
		t.counts[key] = &tally{}
	}
	t.counts[key].set(place, v)
}

func (t *tallies) countAge(key, letter, age string, v json.RawMessage) {
	name := genders[letter]
	if name == "" || age == "" || string(v) == "null" {
		return
	}
	i := slices.IndexFunc(t.ages[key], func(g gender) bool { return g.name == name })
	if i < 0 {
		if t.ages == nil {
			t.ages = map[string][]gender{}
		}
		i = len(t.ages[key])
		t.ages[key] = append(t.ages[key], gender{name, &tally{}})
	}
	t.ages[key][i].ages.set(age, v)
}

func (t *tallies) dimensions() social.KVs {
	var out social.KVs
	for _, a := range audiences {
		for _, key := range []string{a.prefix + "country", a.prefix + "city"} {
			if c := t.counts[key]; c != nil {
				out = append(out, social.KV{Key: key, Value: c.members.AppendJSON(nil)})
			}
		}
		var ages social.KVs
		for _, g := range t.ages[a.prefix+"gender_age"] {
			ages = append(ages, social.KV{Key: g.name, Value: g.ages.members.AppendJSON(nil)})
		}
		if ages != nil {
			out = append(out, social.KV{Key: a.prefix + "gender_age", Value: ages.AppendJSON(nil)})
		}
	}
	return out
}
