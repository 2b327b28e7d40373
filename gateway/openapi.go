package gateway

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"beat/gateway/access"
)

// The document of the API, OpenAPI 3.1. It is made of table alone.

//go:embed examples/*.json
var exampleFiles embed.FS

// example is a file of folder examples; a name without a file is a programmer's
// mistake.
func example(name string) json.RawMessage {
	b, err := exampleFiles.ReadFile("examples/" + name + ".json")
	if err != nil {
		panic(err)
	}
	return b
}

type apiDocument struct {
	OpenAPI    string           `json:"openapi"`
	Info       apiInfo          `json:"info"`
	Servers    []apiServer      `json:"servers"`
	Tags       []apiTag         `json:"tags"`
	Paths      ordered[apiPath] `json:"paths"`
	Components apiComponents    `json:"components"`
}

type apiInfo struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Summary     string `json:"summary"`
	Description string `json:"description"`
}

type apiServer struct {
	URL string `json:"url"`
}

type apiTag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// ordered is an object whose members keep the order of the table.
type ordered[T any] []member[T]

type member[T any] struct {
	name  string // of letters that JSON spells as they are
	value T
}

func (o ordered[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", m.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// apiPath is the operations of a path by method, in lower case.
type apiPath map[string]*apiOperation

type apiOperation struct {
	Tags        []string                `json:"tags"`
	ID          string                  `json:"operationId"`
	Summary     string                  `json:"summary"`
	Description string                  `json:"description,omitempty"`
	Parameters  []apiParam              `json:"parameters,omitempty"`
	Body        *apiBody                `json:"requestBody,omitempty"`
	Responses   map[string]*apiResponse `json:"responses"` // by status
	Security    []map[string][]string   `json:"security"`
	Contract    string                  `json:"x-contract,omitempty"`
}

type apiParam struct {
	Name        string             `json:"name"`
	In          string             `json:"in"`
	Required    bool               `json:"required,omitempty"`
	Description string             `json:"description,omitempty"`
	Schema      *jsonschema.Schema `json:"schema"`
	Example     any                `json:"example"`
}

type apiBody struct {
	Description string                `json:"description,omitempty"`
	Required    bool                  `json:"required"`
	Content     map[string]apiContent `json:"content"`
}

type apiResponse struct {
	Description string                `json:"description"`
	Headers     map[string]apiHeader  `json:"headers,omitempty"`
	Content     map[string]apiContent `json:"content,omitempty"`
}

type apiHeader struct {
	Description string             `json:"description"`
	Schema      *jsonschema.Schema `json:"schema"`
}

type apiContent struct {
	Schema   *jsonschema.Schema  `json:"schema,omitempty"`
	Examples ordered[apiExample] `json:"examples,omitempty"`
}

type apiExample struct {
	Value any `json:"value"`
}

type apiComponents struct {
	Schemas  map[string]*jsonschema.Schema `json:"schemas"`
	Security map[string]apiSecurity        `json:"securitySchemes"`
}

type apiSecurity struct {
	Type        string `json:"type"`
	Scheme      string `json:"scheme"`
	Description string `json:"description"`
}

const asJSON = "application/json"

// describe is the document of a build.
func describe(version string) *apiDocument {
	d := &apiDocument{
		OpenAPI: "3.1.0",
		Info: apiInfo{Title: "beat", Version: version, Summary: "Social media data for influencer analytics",
			Description: "Business errors are answered with status 200 and an envelope whose status.type is ERROR. " +
				"Times are UTC, YYYY-MM-DDTHH:MM:SS with microseconds where there are any, and without a zone. " +
				"What is unknown is null. A body is read as JSON whatever its content type, and has at most 1 MiB."},
		Servers: []apiServer{{"/"}},
		Components: apiComponents{componentSchemas(), map[string]apiSecurity{"token": {"http", "bearer",
			"A token that beat token new has printed. Its scope is read, refresh, which includes read, or admin, which includes both. " +
				"A process whose gateway listens on a loopback address asks for none; where an operation names the alternative of none, " +
				"tokens are asked for with BEAT_AUTH_LEGACY alone."}}},
	}
	for _, g := range groups {
		d.Tags = append(d.Tags, apiTag{g.name, g.about})
	}
	for _, r := range table() {
		p := apiPath{}
		for method, op := range r.verbs {
			p[strings.ToLower(method)] = op.describe(r.path)
		}
		d.Paths = append(d.Paths, member[apiPath]{r.path, p})
	}
	return d
}

func (o *operation) describe(path string) *apiOperation {
	out := &apiOperation{Tags: []string{o.group}, ID: o.id, Summary: o.summary, Description: o.about, Contract: o.contract,
		Responses: map[string]*apiResponse{}, Security: []map[string][]string{}}
	for segment := range strings.SplitSeq(path, "/") {
		name, ok := strings.CutPrefix(segment, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		p := inPath[name]
		if i := slices.IndexFunc(o.params, func(p param) bool { return p.in == "path" && p.name == name }); i >= 0 {
			p = o.params[i]
		}
		out.Parameters = append(out.Parameters, apiParam{name, "path", true, p.about, p.schema, p.example})
	}
	for _, p := range o.params {
		if p.in != "path" {
			out.Parameters = append(out.Parameters, apiParam{p.name, p.in, p.required, p.about, p.schema, p.example})
		}
	}
	if o.body != nil {
		content := apiContent{Schema: o.body.schema}
		for _, name := range o.body.examples {
			content.Examples = append(content.Examples, member[apiExample]{name, apiExample{example(name)}})
		}
		out.Body = &apiBody{o.body.about, true, map[string]apiContent{asJSON: content}}
	}
	for _, a := range slices.Concat(o.answers, o.common()) {
		code := strconv.Itoa(a.code)
		switch {
		case out.Responses[code] != nil: // what the table says goes before what all have
		case a.code == http.StatusOK && o.contract != "" && o.bounded():
			out.Responses[code] = a.with(fails("limited")).describe()
		default:
			out.Responses[code] = a.describe()
		}
	}
	if o.scope > access.Open {
		if o.contract != "" {
			out.Security = append(out.Security, map[string][]string{})
		}
		out.Security = append(out.Security, map[string][]string{"token": {o.scope.String()}})
	}
	return out
}

// common are the answers that an operation has because of what it is.
func (o *operation) common() []answer {
	out := []answer{{code: http.StatusInternalServerError, says: "A mistake of ours. The log has it.", text: &text{plainText, "Internal Server Error"}}}
	if o.body != nil {
		out = append(out,
			answer{http.StatusBadRequest, "The body could not be read, or is not UTF-8.", []form{{detail{}, "bad-body"}}, nil},
			answer{http.StatusRequestEntityTooLarge, "The body is too large.", []form{{detail{}, "large-body"}}, nil})
	}
	if o.scope > access.Open {
		out = append(out,
			answer{http.StatusUnauthorized, "A token is needed, or the one given is not known.", []form{{detail{}, "unauthorized"}}, nil},
			answer{http.StatusForbidden, "The token has too small a scope.", []form{{detail{}, "forbidden"}}, nil})
	}
	if o.contract == "" && o.bounded() {
		out = append(out,
			answer{http.StatusTooManyRequests, "Too many requests of this client are under way. Retry-After says when to ask again.", []form{{detail{}, "too-many-of-client"}}, nil},
			answer{http.StatusServiceUnavailable, "Too many requests are under way. Retry-After says when to ask again.", []form{{detail{}, "too-many"}}, nil})
	}
	return out
}

// with is the answer with one more form, if it does not have that.
func (a answer) with(f form) answer {
	if !slices.ContainsFunc(a.forms, func(has form) bool { return has.example == f.example }) {
		a.forms = append(slices.Clip(a.forms), f)
	}
	return a
}

func (a answer) describe() *apiResponse {
	out := &apiResponse{Description: a.says}
	switch {
	case a.text != nil:
		out.Content = map[string]apiContent{a.text.kind: {schemaOf("string"), ordered[apiExample]{{"text", apiExample{a.text.example}}}}}
	case len(a.forms) > 0:
		var content apiContent
		var seen []reflect.Type
		var schemas []*jsonschema.Schema
		for _, f := range a.forms {
			content.Examples = append(content.Examples, member[apiExample]{f.example, apiExample{example(f.example)}})
			if t := reflect.TypeOf(f.of); !slices.Contains(seen, t) {
				seen, schemas = append(seen, t), append(schemas, schemaFor(t))
			}
		}
		if content.Schema = schemas[0]; len(schemas) > 1 {
			content.Schema = &jsonschema.Schema{AnyOf: schemas}
		}
		out.Content = map[string]apiContent{asJSON: content}
	}
	return out
}

// OpenAPI is the document of the API as JSON, for people to read too.
func OpenAPI(version string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(describe(version))
	return b.Bytes(), err
}

// published is what is made once of the table.
type published struct {
	once       sync.Once
	json, page []byte
	err        error
}

// openAPI answers the document.
func (g *Gateway) openAPI(w http.ResponseWriter, _ *http.Request) {
	g.publish(w, asJSON, func(p *published) []byte { return p.json })
}

// docs answers the document as a page. It holds no script and loads nothing.
func (g *Gateway) docs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	g.publish(w, "text/html; charset=utf-8", func(p *published) []byte { return p.page })
}

func (g *Gateway) publish(w http.ResponseWriter, kind string, part func(*published) []byte) {
	p := &g.doc
	p.once.Do(func() {
		if p.json, p.err = OpenAPI(g.cfg.Version); p.err == nil {
			p.page, p.err = page(g.cfg.Version)
		}
	})
	if p.err != nil {
		panic(p.err) // a test makes both
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(part(p)) //nolint:errcheck // the client is gone
}
