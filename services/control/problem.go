package control

import (
	"encoding/json"
	"net/http"
)

// problemType is the media type of a problem document.
const problemType = "application/problem+json"

// problem is a problem document (RFC 9457). Its type is about:blank: the status says what
// kind of problem it is, and Detail is for people.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	// Extensions: what is known in spite of the problem.
	Plan    []string     `json:"plan,omitempty"`
	Changes []Difference `json:"differences,omitempty"`
}

func (p problem) encode() []byte {
	text, err := json.Marshal(p.titled())
	if err != nil { // Its fields can be encoded.
		return []byte("{}")
	}
	return append(text, '\n')
}

func (p problem) titled() problem {
	p.Title = http.StatusText(p.Status)
	return p
}

// problemOf returns the problem of a response with an error.
func problemOf(r Response) problem {
	p := problem{Status: http.StatusConflict, Detail: r.Error, Plan: r.Plan, Changes: r.Changes}
	switch r.Code {
	case CodeUsage:
		p.Status = http.StatusBadRequest
	case CodeNotFound:
		p.Status = http.StatusNotFound
	}
	return p
}

// code returns the exit status of a problem.
func (p problem) code() int {
	switch p.Status {
	case http.StatusNotFound:
		return CodeNotFound
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge:
		return CodeUsage
	}
	return CodeFailed
}
