package gateway

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"beat/streams/flow"
	"beat/streams/lineage"
	"beat/streams/social"
)

// typeNames are the types that the document gives a name of their own. All of them are
// those that are encoded, so it cannot say what is not so.
var typeNames = map[reflect.Type]string{
	reflect.TypeFor[status]():          "Status",
	reflect.TypeFor[errorStatus]():     "ErrorStatus",
	reflect.TypeFor[doneAnswer]():      "DoneAnswer",
	reflect.TypeFor[errorAnswer]():     "ErrorAnswer",
	reflect.TypeFor[invalidAnswer]():   "InvalidAnswer",
	reflect.TypeFor[problem]():         "Problem",
	reflect.TypeFor[detail]():          "Detail",
	reflect.TypeFor[account]():         "InstagramProfile",
	reflect.TypeFor[channel]():         "YouTubeProfile",
	reflect.TypeFor[nestedProfile]():   "NestedProfile",
	reflect.TypeFor[creatorProfile]():  "CreatorProfile",
	reflect.TypeFor[creatorAudience](): "CreatorAudience",
	reflect.TypeFor[audience]():        "Audience",
	reflect.TypeFor[post]():            "RecentPost",
	reflect.TypeFor[postMetrics]():     "PostMetrics",
	reflect.TypeFor[averages]():        "Averages",
	reflect.TypeFor[providedPost]():    "Post",
	reflect.TypeFor[plainPost]():       "PlainPost",
	reflect.TypeFor[postCounts]():      "PostCounts",
	reflect.TypeFor[shownTask]():       "Task",
	reflect.TypeFor[listedTask]():      "ListedTask",
	reflect.TypeFor[createdAnswer]():   "CreatedAnswer",
	reflect.TypeFor[Why]():             "Why",
	reflect.TypeFor[social.Attempt]():  "Attempt",
}

const componentRef = "#/components/schemas/"

// byHand are types whose Go form does not say what they hold.
var byHand = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[json.RawMessage](): {Types: []string{"object", "array", "string", "number", "boolean", "null"}},
	reflect.TypeFor[lineage.Digest]():  {Type: "string", Pattern: "^-?[0-9]+$"},
	reflect.TypeFor[status](): object(map[string]*jsonschema.Schema{
		"type":    oneOfTexts("SUCCESS"),
		"message": {Type: "string", Description: "for people"},
	}, "type", "message"),
	reflect.TypeFor[errorStatus](): object(map[string]*jsonschema.Schema{
		"type":    oneOfTexts("ERROR"),
		"message": {Type: "string", Description: "for people"},
		"code":    {Type: "integer", Description: "2 when a limit is reached, else like a status of HTTP, or the provider's own"},
	}, "type", "message", "code"),
	reflect.TypeFor[audience](): object(map[string]*jsonschema.Schema{
		"city": {Types: []string{"null", "object"}, AdditionalProperties: schemaOf("integer"), Description: "city → followers"},
		"gender_age": {Types: []string{"null", "object"}, Description: "male, female or uncategorized → age band → followers",
			AdditionalProperties: &jsonschema.Schema{Type: "object", AdditionalProperties: schemaOf("number")}},
	}, "city", "gender_age"),
}

// schemaFor is the schema of a type that is encoded, with references to the typeNames
// ones within it. It panics for a type that has none, which only a programmer can
// bring about.
func schemaFor(t reflect.Type) *jsonschema.Schema {
	if name, ok := typeNames[t]; ok {
		return &jsonschema.Schema{Ref: componentRef + name}
	}
	return inferred(t)
}

func inferred(t reflect.Type) *jsonschema.Schema {
	if s, ok := byHand[t]; ok {
		return s.CloneSchemas()
	}
	known := map[reflect.Type]*jsonschema.Schema{}
	for other, s := range byHand {
		known[other] = s
	}
	for other, name := range typeNames {
		if other != t {
			known[other] = &jsonschema.Schema{Ref: componentRef + name}
		}
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
	if err != nil {
		panic(err)
	}
	return settled(s)
}

// settled makes of what Go's types can say what is encoded: fields may be added,
// null stands beside a reference, and what is left out is never null.
func settled(s *jsonschema.Schema) *jsonschema.Schema {
	if s == nil {
		return nil
	}
	if s.Type == "object" && s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for name, p := range s.Properties {
		if !slices.Contains(s.Required, name) {
			p.Types = slices.DeleteFunc(slices.Clone(p.Types), func(t string) bool { return t == "null" })
			if len(p.Types) == 1 {
				p.Type, p.Types = p.Types[0], nil
			}
		}
		s.Properties[name] = settled(p)
	}
	s.Items = settled(s.Items)
	if s.Properties == nil && s.AdditionalProperties != nil {
		s.AdditionalProperties = settled(s.AdditionalProperties)
	}
	if s.Ref != "" && len(s.Types) > 0 {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Ref: s.Ref}, schemaOf("null")}, Description: s.Description}
	}
	if len(s.Types) == 0 {
		s.Types = nil
	}
	return s
}

// components are the schemas of the named types, and one of the task of each flow.
func componentSchemas() map[string]*jsonschema.Schema {
	out := map[string]*jsonschema.Schema{}
	for t, name := range typeNames {
		out[name] = inferred(t)
	}
	for _, f := range flow.All {
		out[flowComponent(f)] = taskOf(f)
	}
	return out
}

func flowComponent(f flow.Flow) string { return "Task-" + f.Name }

// paramTypes are flow's types of parameters in JSON.
var paramTypes = map[flow.Type]jsonschema.Schema{
	flow.Text:  {Type: "string"},
	flow.Texts: {Type: "array", Items: &jsonschema.Schema{Type: "string"}},
	flow.Int:   {Type: "integer", Minimum: new(0.0)},
	flow.Float: {Type: "number"},
}

// taskOf is the body of R11 for one flow: the rows of the flow table say what it
// takes.
func taskOf(f flow.Flow) *jsonschema.Schema {
	params := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
	for _, p := range f.Params {
		s := paramTypes[p.Type]
		if p.Null {
			s.Types, s.Type = []string{s.Type, "null"}, ""
		}
		params.Properties[p.Name] = &s
		params.PropertyOrder = append(params.PropertyOrder, p.Name)
		if !p.Optional {
			params.Required = append(params.Required, p.Name)
		}
	}
	s := object(map[string]*jsonschema.Schema{
		"flow":     oneOfTexts(f.Name),
		"platform": {Type: "string", Enum: []any{string(f.Platform)}, Description: "in any case"},
		"params":   params,
		"reason":   {Types: []string{"string", "null"}, Description: "told with the task's events"},
	}, "flow", "platform", "params")
	s.Description = "refreshes or reads: " + f.Entity
	if f.Entity == "" {
		s.Description = ""
	}
	return s
}

func object(properties map[string]*jsonschema.Schema, required ...string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: properties, Required: required, PropertyOrder: required}
}

func taskBody() *jsonschema.Schema {
	s := &jsonschema.Schema{}
	mapping := map[string]string{}
	for _, f := range flow.All {
		ref := componentRef + flowComponent(f)
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Ref: ref})
		mapping[f.Name] = ref
	}
	s.Extra = map[string]any{"discriminator": map[string]any{"propertyName": "flow", "mapping": mapping}}
	return s
}

func updateBody() *jsonschema.Schema {
	return object(map[string]*jsonschema.Schema{
		"flow":        {Type: "string", MinLength: new(1), MaxLength: new(512), Description: "told with the event; it changes nothing"},
		"platform":    {Type: "string", Enum: []any{"INSTAGRAM", "YOUTUBE", "SHOPIFY"}, Description: "in any case; told with the event"},
		"params":      {Type: "object", Description: "told with the event"},
		"retry_count": {AnyOf: []*jsonschema.Schema{schemaOf("integer"), {Type: "string", Pattern: "^-?[0-9]+$"}}},
		"status":      oneOfTexts(social.Pending, social.Complete, social.Failed),
	}, "flow", "platform", "params", "retry_count", "status")
}
