package flow

// Names of flows that peers already ask for, as contract/enrichment.md 5.6 calls
// their handlers.
const (
	KeywordCollection   = "fetch_keyword_collection"
	SentimentExtraction = "sentiment_extraction"
	SentimentReport     = "fetch_sentiment_report"
)

// Coming are flows that tasks are stored for and that no row of All runs yet, and
// what each will do. Nobody claims such a task: it stays PENDING, keeps its
// place, and runs once All has the row.
var Coming = map[string]string{
	KeywordCollection:   "writes the report of a keyword collection and tells coffee",
	SentimentExtraction: "asks the model what the comments of a page feel like",
	SentimentReport:     "writes the report of a collection's sentiments and tells coffee",
}
