package gateway

import (
	"net/http"

	"github.com/google/jsonschema-go/jsonschema"

	"beat/gateway/access"
)

// An operation is one method of a route: what handles it, who may ask for it, and
// all that the document of the API says of it (openapi.go). What the document says
// of every operation alike, such as 500 or 401, is not repeated here.
type operation struct {
	handle   func(*Gateway, http.ResponseWriter, *http.Request)
	contract string // its number in contract/http.md; "": it is for operators
	scope    access.Scope
	heavy    bool // an answer may have megabytes

	id      string // operationId: its name in clients
	group   string // one of groups
	summary string
	about   string
	params  []param // of query and headers; those of the path, too, where they differ from inPath
	body    *body
	answers []answer
}

// A param is a named value of a request.
type param struct {
	name, in string // in: path, query, header
	required bool
	about    string
	schema   *jsonschema.Schema
	example  any
}

// A body is a JSON object that a request has to bring.
type body struct {
	about    string
	schema   *jsonschema.Schema
	examples []string // files of folder examples, without .json
}

// An answer is one status and the forms that its body may have: JSON, or text.
type answer struct {
	code  int
	says  string
	forms []form
	text  *text // instead of forms; neither: no body
}

// A form is a type that is encoded, and an example of it: a file of folder
// examples, without .json.
type form struct {
	of      any
	example string
}

type text struct{ kind, example string }

// fails is a business error.
func fails(example string) form { return form{errorAnswer{}, example} }

var plainText = "text/plain; charset=utf-8"

// head is the same without a body.
func (o operation) head(id string) *operation {
	o.id, o.answers = id, nil
	o.summary += " (status only)"
	o.answers = []answer{{code: http.StatusOK, says: "As GET."}}
	return &o
}

func schemaOf(kind string) *jsonschema.Schema { return &jsonschema.Schema{Type: kind} }

func oneOfTexts(values ...string) *jsonschema.Schema {
	s := schemaOf("string")
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}

// words are the spellings of a boolean beside JSON's own.
var words = []string{"1", "0", "on", "off", "yes", "no", "t", "f", "y", "n"}

// A declared boolean takes words in any case, and refuses all else.
func declared(name, about string, required bool) param {
	return param{name: name, in: "query", required: required, about: about + " Also 1, on, yes, t, y and 0, off, no, f, n, in any case; all else is refused.",
		schema: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schemaOf("boolean"), oneOfTexts(words...)}}, example: true}
}

// A loose boolean is turned on by any text that is no word for no.
func loose(name, about string) param {
	return param{name: name, in: "query", about: about + " Any text turns it on but 0, false, no, off, f, n and none.",
		schema: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{schemaOf("boolean"), schemaOf("string")}}, example: true}
}

func queryText(name, about string, example string) param {
	return param{name: name, in: "query", required: true, about: about, schema: schemaOf("string"), example: example}
}
