// Command blockrig is a kernel regression harness for the block layer.
package main

func main() {}
