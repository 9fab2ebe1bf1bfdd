// Box and Muller's transform, written once for all vector widths. Include it where `Vec` names a
// vector of floats with its operations and SIGMABENCH_INLINE makes functions of its target.
//
// The logarithm is Moshier's logf, sine and cosine on a quarter turn are his too (Cephes, 1992),
// good to about an ulp each.

namespace sigmabench {
namespace {

// -2 ln u for u = (x + 1/2) / 2^32, so that u lies in (0, 1] and both tails end beyond 6.7.
SIGMABENCH_INLINE Vec::F minus_two_log(Vec::I x) {
    const Vec::F u = Vec::add(Vec::from_unsigned(x), Vec::set(0.5f));
    const Vec::I shifted = Vec::sub(Vec::bits(u), Vec::seti(0x3f3504f3));  // sqrt(1/2)
    const Vec::F e = Vec::from_signed(Vec::sub(Vec::shift_down<23>(shifted), Vec::seti(32)));
    const Vec::F m =
        Vec::as_float(Vec::addi(Vec::andi(shifted, Vec::seti(0x7fffff)), Vec::seti(0x3f3504f3)));
    const Vec::F f = Vec::sub(m, Vec::set(1.0f)), f2 = Vec::mul(f, f);
    Vec::F p = Vec::set(7.0376836292e-2f);
    p = Vec::fma(p, f, Vec::set(-1.1514610310e-1f));
    p = Vec::fma(p, f, Vec::set(1.1676998740e-1f));
    p = Vec::fma(p, f, Vec::set(-1.2420140846e-1f));
    p = Vec::fma(p, f, Vec::set(1.4249322787e-1f));
    p = Vec::fma(p, f, Vec::set(-1.6668057665e-1f));
    p = Vec::fma(p, f, Vec::set(2.0000714765e-1f));
    p = Vec::fma(p, f, Vec::set(-2.4999993993e-1f));
    p = Vec::fma(p, f, Vec::set(3.3333331174e-1f));
    Vec::F y = Vec::mul(Vec::mul(p, f), f2);
    y = Vec::fma(e, Vec::set(-2.12194440e-4f), y);  // ln 2 = 0.693359375 - 2.12194440e-4
    y = Vec::fma(f2, Vec::set(-0.5f), y);
    y = Vec::fma(e, Vec::set(0.693359375f), Vec::add(y, f));
    return Vec::mul(y, Vec::set(-2.0f));
}

// A standard normal pair from 32 random bits each. The angle is uniform on the quarter turn about
// 0; two further bits of y turn it to one of the four quarters (in distribution).
SIGMABENCH_INLINE void normal_pair(Vec::I x, Vec::I y, Vec::F& first, Vec::F& second) {
    const Vec::F radius = Vec::sqrt(minus_two_log(x));
    const Vec::F t = Vec::mul(Vec::from_signed(Vec::shift_up<2>(y)),
                              Vec::set(3.6572951981e-10f));  // pi/4 / 2^31
    const Vec::F t2 = Vec::mul(t, t);
    Vec::F s = Vec::fma(Vec::set(-1.9515295891e-4f), t2, Vec::set(8.3321608736e-3f));
    s = Vec::fma(s, t2, Vec::set(-1.6666654611e-1f));
    s = Vec::fma(Vec::mul(s, t2), t, t);
    Vec::F c = Vec::fma(Vec::set(2.443315711809948e-5f), t2, Vec::set(-1.388731625493765e-3f));
    c = Vec::fma(c, t2, Vec::set(4.166664568298827e-2f));
    c = Vec::fma(c, t2, Vec::set(-0.5f));
    c = Vec::fma(c, t2, Vec::set(1.0f));
    const Vec::I sign = Vec::andi(Vec::shift_up<1>(y), Vec::seti(INT32_MIN));
    c = Vec::mul(radius, Vec::as_float(Vec::xori(Vec::bits(c), sign)));
    s = Vec::mul(radius, s);
    first = Vec::choose(y, s, c);  // the sign bit of y
    second = Vec::choose(y, c, s);
}

}  // namespace
}  // namespace sigmabench
