/* CRC-32 (polynomial edb88320 reflected, as zlib's) of short runs, by carry-less multiplication where the CPU has it.
 *
 * The method is that of V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction"
 * (Intel, 2009): fold by 16 bytes, reduce to 64 bits, Barrett reduction. A decoder's runs are some hundred bytes, where
 * one accumulator is enough. Elsewhere, and for the rest of a run, the caller's table does it.
 */
#ifndef CDC_PIPELINE_CRC32_H
#define CDC_PIPELINE_CRC32_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

static int crc32_can_fold(void) { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }

/* The CRC register after n bytes, n a multiple of 16 and at least 16. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc32_fold(uint32_t crc, const unsigned char *p, ptrdiff_t n) {
    const __m128i k34 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i k5 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i poly = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_cvtsi32_si128((int)crc));
    for (p += 16, n -= 16; n >= 16; p += 16, n -= 16) {
        __m128i y = _mm_clmulepi64_si128(x, k34, 0x00);
        x = _mm_clmulepi64_si128(x, k34, 0x11);
        x = _mm_xor_si128(_mm_xor_si128(x, y), _mm_loadu_si128((const __m128i *)p));
    }
    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, k34, 0x10));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low), k5, 0x00));
    __m128i y = _mm_clmulepi64_si128(_mm_and_si128(x, low), poly, 0x10);
    y = _mm_clmulepi64_si128(_mm_and_si128(y, low), poly, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, y), 1);
}

#else

static int crc32_can_fold(void) { return 0; }

static uint32_t crc32_fold(uint32_t crc, const unsigned char *p, ptrdiff_t n) {
    (void)p;
    (void)n;
    return crc;
}

#endif
#endif
