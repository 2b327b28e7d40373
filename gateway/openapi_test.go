package gateway

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"beat/streams/flow"
)

// The document is OpenAPI 3.1, and each of its examples is of the schema that it
// stands beside.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	raw, err := OpenAPI("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableMultiError()); err != nil {
		t.Error(err)
	}
	if !doc.IsOpenAPI31OrLater() || doc.Info.Version != "v1.2.3" {
		t.Errorf("openapi %s, version %s", doc.OpenAPI, doc.Info.Version)
	}
	// Mistakes are found: an example that is not of its schema, and a reference to nothing.
	for old, wrong := range map[string]string{`"followers": 28754,`: `"followers": "28754",`, `"platform": "youtube",`: `"platform": 7,`} {
		broken, err := openapi3.NewLoader().LoadFromData(bytes.Replace(raw, []byte(old), []byte(wrong), 1))
		if err == nil {
			err = broken.Validate(t.Context())
		}
		if err == nil {
			t.Errorf("%s is taken for %s", wrong, old)
		}
	}
}

// No route is without an entry, and no entry without all that a reader needs: a
// name of its own, an example of every answer that has a body, and of every
// parameter and body. The examples are of the very types that are encoded.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	names, used, contract := map[string]string{}, map[string]bool{}, map[string]bool{}
	for _, r := range table() {
		for method, op := range r.verbs {
			at := method + " " + r.path
			if op.handle == nil || op.id == "" || op.summary == "" || !slices.ContainsFunc(groups, func(g struct{ name, about string }) bool { return g.name == op.group }) {
				t.Errorf("%s: want handler, id, summary and a group: %+v", at, op)
			}
			if names[op.id] != "" {
				t.Errorf("%s and %s are both called %s", at, names[op.id], op.id)
			}
			names[op.id], contract[op.contract] = at, true
			d := op.describe(r.path)
			if strings.Count(r.path, "{") != len(slices.DeleteFunc(slices.Clone(d.Parameters), func(p apiParam) bool { return p.In != "path" })) {
				t.Errorf("%s: not each parameter of the path is described", at)
			}
			for _, p := range d.Parameters {
				if p.Description == "" || p.Schema == nil || p.Example == nil {
					t.Errorf("%s: parameter %s lacks description, schema or example", at, p.Name)
				}
			}
			if len(op.answers) == 0 || op.answers[0].code != http.StatusOK {
				t.Errorf("%s: its first answer is not 200", at)
			}
			for _, a := range op.answers {
				if a.says == "" {
					t.Errorf("%s: what does %d say?", at, a.code)
				}
				for _, f := range a.forms {
					used[f.example] = true
					decodes(t, f)
				}
				if bodyless := method == "HEAD" || strings.Contains(r.path, "/heartbeat") && a.code != 422; len(a.forms) == 0 && a.text == nil && !bodyless {
					t.Errorf("%s: %d has no example", at, a.code)
				}
			}
			for _, a := range op.common() {
				for _, f := range a.forms {
					used[f.example] = true
					decodes(t, f)
				}
			}
			if op.body != nil {
				if op.body.schema == nil || len(op.body.examples) == 0 {
					t.Errorf("%s: its body lacks schema or example", at)
				}
				for _, name := range op.body.examples {
					used[name] = true
				}
			}
		}
	}
	for n := 1; n <= 18; n++ { // contract/http.md 2
		if r := "R" + strconv.Itoa(n); !contract[r] {
			t.Errorf("%s of the contract has no route", r)
		}
	}
	files, err := fs.Glob(exampleFiles, "examples/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(strings.TrimPrefix(f, "examples/"), ".json"); !used[name] {
			t.Errorf("example %s belongs to no route", name)
		}
	}
}

// decodes asserts that an example is what its type encodes: no more, no less, in
// this order.
func decodes(t *testing.T, f form) {
	t.Helper()
	into := reflect.New(reflect.TypeOf(f.of))
	raw := example(f.example)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into.Interface()); err != nil {
		t.Errorf("%s as %T: %v", f.example, f.of, err)
		return
	}
	var want, got bytes.Buffer
	if err := json.Compact(&want, raw); err != nil {
		t.Fatal(err)
	}
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	if err := e.Encode(into.Elem().Interface()); err != nil {
		t.Fatal(err)
	}
	if _, free := f.of.(map[string]any); !free && got.String() != want.String()+"\n" {
		t.Errorf("%s\n is  %s\nwant %s", f.example, want.String(), got.String())
	}
}

// The answers that TestContract holds the routes to are of the schemas, too.
func TestContractIsDescribed(t *testing.T) {
	t.Parallel()
	raw, err := OpenAPI("")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	routes := newRouter(table())
	checked := 0
	for _, c := range contract {
		method, target, _ := strings.Cut(c.request, " ")
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		code := c.code
		if code == 0 {
			code = http.StatusOK
		}
		found, _ := routes.find(u.EscapedPath())
		if found == nil || found.verbs[method] == nil {
			continue // a path that is none
		}
		answer := doc.Paths.Value(found.path).GetOperation(method).Responses.Status(code)
		if answer == nil {
			t.Errorf("%s: answer %d is not described", c.request, code)
			continue
		}
		content := answer.Value.Content["application/json"]
		if content == nil {
			continue
		}
		var value any
		if err := json.Unmarshal([]byte(c.want), &value); err != nil {
			t.Fatal(err)
		}
		if err := content.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: %v", c.request, err)
		}
		checked++
	}
	if checked < 100 {
		t.Errorf("%d answers were checked, want those of the contract", checked)
	}
}

// The schema of a task's body and the flow table are of one mind.
func TestTaskBodies(t *testing.T) {
	t.Parallel()
	raw, err := OpenAPI("")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	schema := doc.Paths.Value("/scrape_request_log/flow/{flow}").Post.RequestBody.Value.Content["application/json"].Schema.Value
	values := map[flow.Type]string{flow.Text: `"a"`, flow.Texts: `["a"]`, flow.Int: `3`, flow.Float: `0.5`}
	for _, f := range flow.All {
		params := map[string]json.RawMessage{}
		for _, p := range f.Params {
			params[p.Name] = json.RawMessage(values[p.Type])
		}
		body := func() any {
			t.Helper()
			b, err := json.Marshal(map[string]any{"flow": f.Name, "platform": f.Platform, "params": params})
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		decode := func() error {
			b, err := json.Marshal(params)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Decode(b)
			return err
		}
		if err := schema.VisitJSON(body(), openapi3.EnableJSONSchema2020()); err != nil || decode() != nil {
			t.Errorf("%s is refused: %v, %v", f.Name, err, decode())
		}
		params["another"] = json.RawMessage(`1`)
		if err := schema.VisitJSON(body(), openapi3.EnableJSONSchema2020()); err == nil || decode() == nil {
			t.Errorf("%s takes a parameter that it does not have", f.Name)
		}
		delete(params, "another")
		for _, p := range f.Params {
			if !p.Optional {
				delete(params, p.Name)
				if err := schema.VisitJSON(body(), openapi3.EnableJSONSchema2020()); err == nil || decode() == nil {
					t.Errorf("%s takes a body without %s", f.Name, p.Name)
				}
				break
			}
		}
	}
}

// The page shows every operation and needs nothing from elsewhere.
func TestDocs(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	code, body := s.call("GET", "/openapi.json", "")
	want, err := OpenAPI(s.g.cfg.Version)
	if err != nil || code != 200 || body != string(want) {
		t.Errorf("/openapi.json: got %d, %d bytes, want %d, %v", code, len(body), len(want), err)
	}
	p, err := page("v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table() {
		for method, op := range r.verbs {
			if method != "HEAD" && !strings.Contains(string(p), `<article id="`+op.id+`">`) {
				t.Errorf("%s is not shown", op.id)
			}
		}
	}
	if loads := regexp.MustCompile(`<script|<link|<img|<iframe|@import|url\(|src=`).FindString(string(p)); loads != "" {
		t.Errorf("the page loads something: %s", loads)
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(string(p), -1) {
		if !strings.Contains(string(p), `id="`+m[1]+`"`) {
			t.Errorf("a link leads nowhere: #%s", m[1])
		}
	}
	if file := os.Getenv("BEAT_PAGE"); file != "" {
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
