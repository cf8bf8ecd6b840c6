// SPDX-License-Identifier: BSD-2-Clause
// Included before all else when the kernel is compiled for the torture run: the places where
// another core may come in between. Every atomic operation is one, before and behind it; every
// basic block is another (-fsanitize-coverage=trace-pc calls __sanitizer_cov_trace_pc()); a core
// that waits for a lock lets the others run.
#pragma once

void torture_point(void);
void torture_spin(void);

#define POINTED(...)                                                                               \
    ({                                                                                             \
        torture_point();                                                                           \
        __auto_type torture_value_ = __VA_ARGS__;                                                  \
        torture_point();                                                                           \
        torture_value_;                                                                            \
    })
#define __atomic_load_n(...)             POINTED(__atomic_load_n(__VA_ARGS__))
#define __atomic_exchange_n(...)         POINTED(__atomic_exchange_n(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) POINTED(__atomic_compare_exchange_n(__VA_ARGS__))
#define __atomic_fetch_add(...)          POINTED(__atomic_fetch_add(__VA_ARGS__))
#define __atomic_fetch_sub(...)          POINTED(__atomic_fetch_sub(__VA_ARGS__))
#define __atomic_fetch_or(...)           POINTED(__atomic_fetch_or(__VA_ARGS__))
#define __atomic_fetch_and(...)          POINTED(__atomic_fetch_and(__VA_ARGS__))
#define __atomic_add_fetch(...)          POINTED(__atomic_add_fetch(__VA_ARGS__))
#define __atomic_sub_fetch(...)          POINTED(__atomic_sub_fetch(__VA_ARGS__))
#define __atomic_store_n(...)                                                                      \
    do {                                                                                           \
        torture_point();                                                                           \
        __atomic_store_n(__VA_ARGS__);                                                             \
        torture_point();                                                                           \
    } while (0)
#define __builtin_ia32_pause() torture_spin()
