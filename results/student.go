package results

import "math"

// studentQuantile is the p quantile (0.5 < p < 1) of Student's t with df
// degrees of freedom.
func studentQuantile(p, df float64) float64 {
	low, high := 0.0, 1.0
	for studentCDF(high, df) < p {
		high *= 2
	}
	for range 200 {
		if middle := (low + high) / 2; studentCDF(middle, df) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// studentCDF is the distribution function for t >= 0.
func studentCDF(t, df float64) float64 {
	return 1 - regularizedBeta(df/(df+t*t), df/2, .5)/2
}

// regularizedBeta is the regularized incomplete beta function I_x(a, b), by
// the continued fraction of Abramowitz and Stegun 26.5.8.
func regularizedBeta(x, a, b float64) float64 {
	if x <= 0 {
		return 0
	}
	if x >= 1 {
		return 1
	}
	if x > (a+1)/(a+b+2) { // there it converges fast
		return 1 - regularizedBeta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(a*math.Log(x)+b*math.Log1p(-x)+lab-la-lb) / a

	// Lentz's method for 1/(1+ d1/(1+ d2/(1+ …
	const tiny = 1e-300
	f, c, d := 1.0, 1.0, 0.0
	for i := range 500 {
		m := float64(i / 2)
		numerator := 1.0
		switch {
		case i == 0:
		case i%2 == 0:
			numerator = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			numerator = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + numerator*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + numerator/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(c*d-1) < 1e-14 {
			break
		}
	}
	return front * (f - 1)
}
