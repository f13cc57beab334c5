# The flags that all of our own code is built with. Client headers are SYSTEM and not held to them.
# GCC 12 warns falsely of uninitialised null values (std::optional) once a sanitizer is in.
function(oncemark_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    $<$<BOOL:${ONCEMARK_WERROR}>:-Werror>)
  if(ONCEMARK_SANITIZE)  # no generator expression: the list of sanitizers has a comma
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()

if(ONCEMARK_SANITIZE)
  add_compile_options(-fsanitize=${ONCEMARK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ONCEMARK_SANITIZE})
endif()
