package main

type buildCmd struct{}
