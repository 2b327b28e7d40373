package gateway

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// What page.html shows.
type (
	pageData struct {
		Doc     *apiDocument
		Groups  []pageGroup
		Schemas []pageSchema
	}
	pageGroup struct {
		apiTag
		Ops []pageOperation
	}
	pageOperation struct {
		*apiOperation
		Method, Path string
		Scope        string // "": nobody is asked for a token
		Optional     bool   // with BEAT_AUTH_LEGACY alone
		Curl         string
		Params       []pageField
		BodyKind     template.HTML
		BodyExamples []pageExample
		Answers      []pageAnswer
	}
	pageField struct {
		Name, In, About, Example string
		Required                 bool
		Kind                     template.HTML
	}
	pageAnswer struct {
		Code, Says string
		Class      byte // first digit of Code
		Kind       template.HTML
		Examples   []pageExample
	}
	pageExample struct {
		Name string
		Code template.HTML
	}
	pageSchema struct {
		Name, About string
		Fields      []pageField
		Kind        template.HTML // of one that is no object
	}
)

// page is the document as HTML, complete in itself.
func page(version string) ([]byte, error) {
	d := describe(version)
	data := pageData{Doc: d}
	byGroup := map[string][]pageOperation{}
	for _, p := range d.Paths {
		for _, method := range []string{"get", "post", "put"} { // HEAD goes without saying
			if op := p.value[method]; op != nil {
				byGroup[op.Tags[0]] = append(byGroup[op.Tags[0]], pageOf(op, strings.ToUpper(method), p.name))
			}
		}
	}
	for _, t := range d.Tags {
		data.Groups = append(data.Groups, pageGroup{t, byGroup[t.Name]})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		out := pageSchema{Name: name, About: s.Description, Fields: fieldsOf(s)}
		if out.Fields == nil {
			out.Kind = kind(s)
		}
		data.Schemas = append(data.Schemas, out)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, data)
	return b.Bytes(), err
}

func pageOf(op *apiOperation, method, path string) pageOperation {
	out := pageOperation{apiOperation: op, Method: method, Path: path, Curl: curl(op, method, path)}
	for _, s := range op.Security {
		if scopes := s["token"]; len(scopes) > 0 {
			out.Scope = scopes[0]
		}
	}
	out.Optional = len(op.Security) > 1
	for _, p := range op.Parameters {
		out.Params = append(out.Params, pageField{p.Name, p.In, p.Description, fmt.Sprint(p.Example), p.Required, kind(p.Schema)})
	}
	if op.Body != nil {
		content := op.Body.Content[asJSON]
		out.BodyKind, out.BodyExamples = kind(content.Schema), examplesOf(content)
	}
	for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[code]
		a := pageAnswer{Code: code, Says: r.Description, Class: code[0]}
		for _, content := range r.Content {
			a.Kind, a.Examples = kind(content.Schema), examplesOf(content)
		}
		out.Answers = append(out.Answers, a)
	}
	return out
}

// curl is an operation as it is called from a shell.
func curl(op *apiOperation, method, path string) string {
	var query []string
	var header string
	for _, p := range op.Parameters {
		value := fmt.Sprint(p.Example)
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", value)
		case p.In == "header":
			header = " \\\n  -H '" + p.Name + ": " + value + "'"
		case p.Required:
			query = append(query, p.Name+"="+value)
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	out := "curl "
	if method != "GET" {
		out += "-X " + method + " "
	}
	out += "'http://localhost:8000" + path + "'" + header
	if len(op.Security) == 1 {
		out += " \\\n  -H \"Authorization: Bearer $BEAT_TOKEN\""
	}
	if op.Body != nil {
		for _, e := range op.Body.Content[asJSON].Examples {
			var compact bytes.Buffer
			if raw, ok := e.value.Value.(json.RawMessage); ok && json.Compact(&compact, raw) == nil {
				out += " \\\n  -d '" + compact.String() + "'"
			}
		}
	}
	return out
}

func examplesOf(c apiContent) []pageExample {
	var out []pageExample
	for _, e := range c.Examples {
		switch v := e.value.Value.(type) {
		case json.RawMessage:
			out = append(out, pageExample{strings.ReplaceAll(e.name, "-", " "), colour(v)})
		default:
			out = append(out, pageExample{"", template.HTML(html.EscapeString(fmt.Sprint(v)))}) //nolint:gosec // escaped
		}
	}
	return out
}

// jsonParts are a key with its colon, a text, a number or word.
var jsonParts = regexp.MustCompile(`("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b`)

// colour is JSON as HTML.
func colour(raw []byte) template.HTML {
	var b strings.Builder
	rest := string(bytes.TrimSpace(raw))
	last := 0
	for _, m := range jsonParts.FindAllStringSubmatchIndex(rest, -1) {
		class := "n"
		end := m[1]
		switch {
		case m[4] >= 0:
			class, end = "k", m[3]
		case m[2] >= 0:
			class = "s"
		}
		fmt.Fprintf(&b, `%s<span class="%s">%s</span>`, html.EscapeString(rest[last:m[0]]), class, html.EscapeString(rest[m[0]:end]))
		last = end
	}
	b.WriteString(html.EscapeString(rest[last:]))
	return template.HTML(b.String()) //nolint:gosec // every part is escaped
}

func fieldsOf(s *jsonschema.Schema) []pageField {
	var out []pageField
	for _, name := range slices.Compact(slices.Concat(s.PropertyOrder, slices.Sorted(maps.Keys(s.Properties)))) {
		p := s.Properties[name]
		if p == nil || slices.ContainsFunc(out, func(f pageField) bool { return f.Name == name }) {
			continue
		}
		out = append(out, pageField{Name: name, About: p.Description, Required: slices.Contains(s.Required, name), Kind: kind(p)})
	}
	return out
}

// kind is a schema in a few words, with links to those that have a name.
func kind(s *jsonschema.Schema) template.HTML { return template.HTML(kindText(s)) } //nolint:gosec // every part is escaped

func kindText(s *jsonschema.Schema) string {
	of := func(all []*jsonschema.Schema) string {
		parts := make([]string, len(all))
		for i, a := range all {
			parts[i] = kindText(a)
		}
		return strings.Join(parts, " or ")
	}
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		name := html.EscapeString(strings.TrimPrefix(s.Ref, componentRef))
		return `<a href="#schema-` + name + `">` + name + `</a>`
	case len(s.AnyOf) > 0:
		return of(s.AnyOf)
	case len(s.OneOf) > 0:
		return of(s.OneOf)
	case len(s.Enum) > 0:
		parts := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			parts[i] = "<code>" + html.EscapeString(fmt.Sprint(v)) + "</code>"
		}
		return strings.Join(parts, " ")
	}
	types := s.Types
	if s.Type != "" {
		types = []string{s.Type}
	}
	var words []string
	for _, t := range types {
		switch {
		case t == "array":
			t = "list of " + kindText(s.Items)
		case t == "object" && s.AdditionalProperties != nil && s.Properties == nil:
			t = "object of " + kindText(s.AdditionalProperties)
		case t == "object" && len(s.Properties) > 0:
			var fields []string
			for _, f := range fieldsOf(s) {
				name := html.EscapeString(f.Name)
				if !f.Required {
					name += "?"
				}
				fields = append(fields, "<b>"+name+"</b>: "+string(f.Kind))
			}
			t = "{ " + strings.Join(fields, ", ") + " }"
		case s.MaxLength != nil:
			t += ", at most " + strconv.Itoa(*s.MaxLength) + " characters"
		}
		if t != "null" {
			words = append([]string{t}, words...)
			continue
		}
		words = append(words, t)
	}
	if len(words) == 0 {
		return "any JSON"
	}
	return strings.Join(words, " or ")
}
